"""Windows of ElastAlert rules: their folds, one file for each way of counting."""

"""Rule languages: text to rules, one file or folder each."""

"""The invented evening that `make demo` scans: cast, hosts, cluster and account."""

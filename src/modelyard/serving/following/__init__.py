"""Which version is served: the registry is asked, files are fetched, checked, opened and tried."""

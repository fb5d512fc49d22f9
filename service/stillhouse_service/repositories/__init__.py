"""Every query of the service, one file a noun; none commits, the unit of work does."""

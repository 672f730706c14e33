"""The sections of a report, one a file: what each says, draws and tabulates."""

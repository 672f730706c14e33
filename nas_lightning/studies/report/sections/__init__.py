"""The sections of a report, one in each module: their text, pictures and tables."""

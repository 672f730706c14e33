"""Jobs of SLURM: the one that a run is in, and scripts for new ones."""

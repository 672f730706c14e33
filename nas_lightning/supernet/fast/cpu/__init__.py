"""Ways of the fast cell around slow CPU kernels, and the thresholds that choose between ways."""

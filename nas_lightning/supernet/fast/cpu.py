"""The kind of CPU, which some thresholds of `benchmarks/convolutions.py` depend on."""

import torch

AVX512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
"""Whether its vectors take 16 numbers of single precision at a time."""

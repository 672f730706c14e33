"""One number out of several: seeds that depend on where in a run a draw is made."""

_MASK = (1 << 64) - 1


def mix_seed(*parts: int) -> int:
    """Mix integers into one seed.

    Nearby inputs, such as the same image in two epochs, give unrelated seeds. All bits of the
    result are well mixed: the CPU generator of torch reads only the lower 32.

    Args:
        parts: Any integers; their order matters.

    Returns:
        A number in 0 .. 2**63 - 1, the same on every machine and in every process.
    """
    state = 0
    for part in parts:
        # the step and the finaliser of the SplitMix64 generator (Steele et al., 2014)
        state = (state ^ (part & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state >> 1

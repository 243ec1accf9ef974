"""How long to wait before a program that ended is started again."""

_FIRST_S = 0.5
_LONGEST_S = 30.0
# A program that ran for so long is not taken to be failing at its start.
_STEADY_S = 60.0


def compute_restart_delay_s(failures: int) -> float:
    """Seconds before the start after `failures` quick ends in a row: 0.5, doubling to 30."""
    return float(min(_FIRST_S * 2 ** min(failures - 1, 10), _LONGEST_S))


def count_failures(failures: int, ran_s: float) -> int:
    """Quick ends in a row, after another run of `ran_s` seconds has ended."""
    return 1 if ran_s >= _STEADY_S else failures + 1

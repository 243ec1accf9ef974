from modelyard.backoff import Backoff


def test_it_doubles_up_to_the_longest_and_begins_again_after_a_success() -> None:
    backoff = Backoff(first_s=1, longest_s=4)
    for longest_s in (1, 2, 4, 4):
        assert longest_s / 2 <= backoff.next_s() <= longest_s
    backoff.reset()
    assert backoff.next_s() <= 1

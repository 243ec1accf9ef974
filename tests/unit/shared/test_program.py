from modelyard.program import Patience


def test_a_second_request_to_stop_is_told_from_one_that_came_twice() -> None:
    patience = Patience()
    assert not patience.is_over(10.0)
    assert not patience.is_over(10.001)  # a terminal and a shell that both send it
    assert patience.is_over(11.0)

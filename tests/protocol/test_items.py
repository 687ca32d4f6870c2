import pytest

from gptmock.protocol.items import InputTokensDetails, OutputTokensDetails, ResponseUsage, total_usage


def test_several_turns_cost_their_sum():
    one = ResponseUsage(10, 5, 15, InputTokensDetails(4, 2), OutputTokensDetails(3))
    other = ResponseUsage(1, 2, 0)
    assert total_usage([one, other]) == ResponseUsage(11, 7, 18, InputTokensDetails(4, 2), OutputTokensDetails(3))
    assert total_usage([other]) == ResponseUsage(1, 2, 3, InputTokensDetails(0, None), OutputTokensDetails(0))


@pytest.mark.parametrize("usages", [[], [None], [ResponseUsage(1, 1, 2), None]])
def test_half_a_sum_is_none(usages):
    assert total_usage(usages) is None

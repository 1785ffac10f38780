"""What a model costs, in words."""

from lowres_d2.said_cost import cost


def test_few_bits_are_said_in_ops():
    assert cost(1.55e9, 1.55e9) == "1.55 G MACs" and cost(103.3e6, 103.3e6) == "103 M MACs"
    assert cost(1.55e9, 176.8e6) == "177 M OPs" and cost(80e9, 1.3e9) == "1.3 G OPs"

"""Memory and operations of models with layers of few bits."""

from lowres_d2.analysis.cost.complexity import measure_complexity
from lowres_d2.analysis.cost.memory import measure_memory, share_of_operation
from lowres_d2.deploy.one_bit import pack
from lowres_d2.layers.k_bit import KBitConv2d
from lowres_d2.layers.one_bit import BinaryConv2d, BinaryLinear, ShiftedSign

import pytest
import torch
from torch import nn

HEIGHT, WIDTH = 6, 10
CELLS = HEIGHT * WIDTH


class Network(nn.Module):
    """A real-valued stem, a 1-bit convolution with norm and slopes, a real-valued prediction."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.PReLU(8)
        )
        self.head = nn.Sequential(BinaryConv2d(8, 16, 3, padding=1), nn.Conv2d(16, 5, 1))

    def forward(self, inputs):
        return self.head(self.backbone(inputs[0]["image"].float()[None]))


def images():
    return [{"image": torch.zeros(3, HEIGHT, WIDTH), "height": HEIGHT, "width": WIDTH}]


def test_memory_is_one_bit_for_each_binary_weight_and_32_for_other_parameters():
    found = measure_memory(Network())
    assert found.weights == {"backbone": 4 * 8 * 27, "head": 16 * 72 / 8 + 4 * 16 * 5}
    assert found.others == {"backbone": 4 * (8 + 8 + 8), "head": 4 * (16 + 5)}
    assert found.by_part == {"backbone": 4 * 240, "head": 144 + 4 * 101}
    assert found.total == 4 * 240 + 144 + 404 and found.total_weights == found.total - 180


def test_shared_weights_take_memory_once_and_half_precision_counts_as_real_valued():
    shared = nn.Linear(2, 3, bias=False)
    assert measure_memory(nn.ModuleList([shared, shared]).half()).total == 24


def test_scales_and_thresholds_are_real_valued_and_biases_too():
    layer = BinaryLinear(5, 4, scale="learned", input_quantizer=ShiftedSign(5, axis=-1))
    found = measure_memory(layer)
    assert found.total_weights == 20 / 8 and found.total == 20 / 8 + 4 * (4 + 4 + 5)


def test_layers_of_several_bits_count_those():
    model = nn.Sequential(KBitConv2d(3, 8, 3, padding=1, bias=False, bits=4))
    found = measure_memory(model)
    assert found.total_weights == 8 * 27 * 4 / 8 and found.total == found.total_weights + 4 * 2
    macs = measure_complexity(_OnImages(model), images()).macs_by_bits
    assert macs[4] == {"network": CELLS * 8 * 27}


class _OnImages(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs):
        return self.network(inputs[0]["image"].float()[None])


def test_packed_models_are_refused_in_one_line():
    for count in (measure_memory, lambda model: measure_complexity(model, images())):
        with pytest.raises(ValueError, match=r"^the model is packed: count memory and MACs of"):
            count(pack(Network()))


def test_operations_are_real_macs_and_a_64th_of_binary_ones():
    found = measure_complexity(Network(), images())
    real, binary = CELLS * (8 * 27 + 16 * 5), CELLS * 16 * 72
    assert found.macs_by_bits == {
        32: {"backbone": CELLS * 8 * 27, "head": CELLS * 16 * 5},
        1: {"head": binary},
    }
    assert found.low_bit_macs == {"head": binary}
    assert found.total_macs == real + binary and found.total_ops == real + binary / 64
    assert found.ops["head"] == CELLS * (16 * 5 + 18)


def test_operations_of_a_real_valued_model_are_its_macs():
    model = Network()
    model.head = nn.Conv2d(8, 5, 1)
    found = measure_complexity(model, images())
    assert found.low_bit_macs == {} and found.ops == found.macs


# G OPs and MB of 32, 4 and 1 bits in Table 2. FCOS, RetinaNet, Faster R-CNN.
TABLE_2 = [
    ((318.25, 55.88, 23.08), (76.44, 21.37, 15.47)),
    ((321.16, 56.25, 23.13), (79.73, 21.78, 15.57)),
    ((102.83, 28.96, 19.72), (113.26, None, 16.78)),  # 22.19 MB fits no number of bits
]


@pytest.mark.parametrize("operations, memory", TABLE_2)
def test_the_rows_of_the_paper_follow_one_rule(operations, memory):
    """Its 4-bit rows, from how many weights and MACs are quantised by the other two rows."""
    real, four, one = operations
    quantised = (real - one) / (1 - share_of_operation(1))
    assert real - quantised * (1 - share_of_operation(4)) == pytest.approx(four, rel=1e-3)
    real, four, one = memory
    quantised = (real - one) / (1 - 1 / 32)
    if four is not None:
        assert real - quantised * (1 - 4 / 32) == pytest.approx(four, rel=1e-3)

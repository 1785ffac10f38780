from lowres_d2.recipes.changes import changed_settings

OLD = """
optimizer: {_target_: torch.optim.SGD, lr: 0.1, betas: !!python/tuple [1, 2]}
model: {f: !!python/name:torch.nn.ReLU '', rate: '${optimizer.lr}'}
stages: [{name: a, iterations: 3}, {name: b}]
sizes: [1, 2]
"""


def test_every_value_that_differs_is_named_once():
    new = (
        OLD.replace("0.1", "0.2").replace("ReLU", "GELU").replace("iterations: 3", "iterations: 4")
    )
    new = new.replace("[1, 2]\n", "[1, 3]\nseed: 5\n")
    assert changed_settings(OLD, new) == [
        "model.f torch.nn.ReLU -> torch.nn.GELU",
        "optimizer.lr 0.1 -> 0.2",
        "seed (none) -> 5",
        "sizes [1, 2] -> [1, 3]",
        "stages[0].iterations 3 -> 4",
    ]
    assert changed_settings(OLD, OLD) == []
    assert changed_settings("weights: ''", "weights: a.pth") == ["weights '' -> a.pth"]


def test_what_is_no_recipe_has_no_differences_to_show():
    assert changed_settings("a: !!python/object/apply:os.system [ls]", OLD) == []
    assert changed_settings("a: [", OLD) == []

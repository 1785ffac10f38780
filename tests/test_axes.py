"""Tensors of public signatures and fields say their axes: CONTRIBUTING.md, "Axes"."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path("lowres_d2")
ROOMS = [
    "deploy",
    "structures",
    "layers",
    "modeling/deformable_detr",
    "modeling/objectives",
    "modeling/one_bit",
    "modeling/resample",
    "modeling/roi_heads",
    "modeling/super_resolution",
    "modeling/tiles",
    "modeling/teacher",
]
# Each name of a state dict has axes of its own.
EXCEPTIONS = {
    "layers/norm_by_factor.py: weights_for_factor",
    "modeling/deformable_detr/convert.py: Weights",
    "modeling/deformable_detr/convert.py: convert_deformable_detr",
}


def is_public(name):
    return not name.startswith("_") or name.startswith("__")


def is_alias(target):
    return isinstance(target, ast.Name) and is_public(target.id)


def annotations(tree, owner=""):
    """Names and annotations of public functions, methods, fields and aliases of types."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and is_public(node.name):
            yield from annotations(node, f"{owner}{node.name}.")
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if is_public(node.target.id):
                yield f"{owner}{node.target.id}", node.annotation
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
            yield from ((f"{owner}{x.id}", node.value) for x in node.targets if is_alias(x))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and is_public(node.name):
            of = node.args
            arguments = [*of.posonlyargs, *of.args, *of.kwonlyargs, of.vararg, of.kwarg]
            for annotation in (*(x.annotation for x in arguments if x), node.returns):
                if annotation is not None:
                    yield f"{owner}{node.name}", annotation


def without_axes(annotation):
    """Whether a Tensor is mentioned outside of ``Float[Tensor, "axes"]`` and the like."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return without_axes(ast.parse(annotation.value, mode="eval").body)
    if isinstance(annotation, ast.Name):
        return annotation.id == "Tensor"
    if isinstance(annotation, ast.Attribute):
        return annotation.attr == "Tensor"
    if isinstance(annotation, ast.Subscript):
        match annotation.value, annotation.slice:
            case ast.Name(id="Literal"), _:
                return False
            case _, ast.Tuple(elts=[ast.Name(id="Tensor"), ast.Constant(value=str())]):
                return False
    return any(without_axes(child) for child in ast.iter_child_nodes(annotation))


def tensors_without_axes(source):
    return {name for name, x in annotations(ast.parse(source)) if without_axes(x)}


@pytest.mark.parametrize("room", ROOMS)
def test_public_tensors_have_axes(room):
    paths = sorted((PACKAGE / room).rglob("*.py"))
    assert paths, room
    found = {
        f"{path.relative_to(PACKAGE).as_posix()}: {name}"
        for path in paths
        for name in tensors_without_axes(path.read_text())
    }
    assert found == {x for x in EXCEPTIONS if x.startswith(f"{room}/")}


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("def f(x: Tensor): ...", {"f"}),
        ("def f(*, x: dict[str, torch.Tensor]): ...", {"f"}),
        ("def f() -> 'Tensor | None': ...", {"f"}),
        ("def f(*x: Float[Tensor, 'N'], y: Tensor): ...", {"f"}),
        ("class A:\n    x: list[Tensor]\n    def g(self) -> Tensor: ...", {"A.x", "A.g"}),
        ("class A:\n    def __call__(self, x: Callable[[Tensor], int]): ...", {"A.__call__"}),
        ("Targets = list[dict[str, Tensor]]", {"Targets"}),
        ("Points = list[Float[Tensor, 'X 2']]\n_Points = list[Tensor]\na = b[0]", set()),
        ("def f(x: Float[Tensor, 'N C'] | None) -> dict[str, Bool[Tensor, '']]: ...", set()),
        ("def f(x: Literal['N'], y: int = 3):\n    def g(z: Tensor): ...", set()),
        ("def _f(x: Tensor): ...\nclass _A:\n    x: Tensor", set()),
    ],
)
def test_what_has_no_axes_is_found(line, names):
    assert tensors_without_axes(line) == names

"""What a case says of an operator, turned into its tests."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor, nn

from shape_checks import CHECKED


class OperatorCase:
    """Base of the tests of one operator or objective.

    A subclass named ``Test...`` says how the operator is built and what goes in, and gets five
    tests:

    smoke      it runs under the shape checks; outputs are finite and of the stated dtype
    shape      outputs have the stated shapes, for each of ``sizes``
    bad input  wrong arguments and inputs raise the stated error
    gradcheck  gradients equal finite differences in float64, for inputs and parameters
    compile    outputs and gradients of ``torch.compile`` are those of eager mode

    Objectives and boxes are float32 whatever goes in; under gradcheck ``Tensor.float`` and
    ``torch.float32`` mean double precision. Bad inputs and compilation are tested as users run
    them, without the shape checks of the suite.

    Attributes:
        covers: the public classes and functions that this case is for.
        variants: arguments of ``build`` by name of the variant; all tests run for each. A test
            finds its own in ``self.arguments``.
        sizes: arguments of ``inputs`` and ``shapes``; all tests but shape take the first.
        dtypes: dtype of floating inputs to dtype of floating outputs, parameters in float32.
        bad_arguments: arguments of ``build``, and words of the ValueError that they raise.
        takes_everything: why nothing is refused; a case without it has bad arguments or inputs.
        not_differentiable: why outputs have no gradient.
        graph_breaks: why ``torch.compile`` cannot make one graph of it; then only the first variant
            is compiled.
    """

    covers: tuple[Callable, ...] = ()
    variants: Mapping[str, dict[str, Any]] = {"default": {}}
    sizes: Sequence[tuple] = ((),)
    dtypes: Mapping[torch.dtype, torch.dtype] = {torch.float32: torch.float32}
    bad_arguments: Sequence[tuple[dict[str, Any], str]] = ()
    takes_everything: str = ""
    not_differentiable: str = ""
    graph_breaks: str = ""

    def build(self, **arguments: Any) -> Callable:
        """The operator."""
        raise NotImplementedError

    def inputs(self, *size: Any) -> tuple:
        """Inputs of ``call``: tensors of the default dtype, in lists and dicts or not."""
        raise NotImplementedError

    def shapes(self, *size: Any) -> Any:
        """What ``call`` gives, with shapes in place of tensors."""
        raise NotImplementedError

    def call(self, operator: Callable, *inputs: Any) -> Any:
        """Outputs, in lists and dicts or not; makes of the inputs what the operator takes."""
        return operator(*inputs)

    def bad_inputs(self) -> Iterable[tuple[tuple, Any, str]]:
        """Inputs of ``call``, the exceptions that they raise, and words of the message."""
        return ()

    def leaves(self, operator: Callable, inputs: tuple) -> list[Tensor]:
        """What gradients are checked for; each has to get one that is not zero."""
        parameters = operator.parameters() if isinstance(operator, nn.Module) else ()
        return [x for x in flat(inputs) if x.is_floating_point()] + list(parameters)

    @pytest.fixture(autouse=True)
    def _one_thread(self):
        # With tensors as small as these, threads only wait for each other.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        for name in ("variant", "size", "dtype"):
            if name in metafunc.fixturenames:
                values = list(getattr(self, f"{name}s"))
                # Many small graphs take long to compile.
                one = self.graph_breaks and metafunc.function.__name__ == "test_compile"
                metafunc.parametrize(name, values[:1] if one else values, ids=str)

    def test_smoke(self, variant, dtype):
        operator, inputs = self._prepared(variant)
        cast = mapped(lambda x: x.to(dtype) if x.is_floating_point() else x, inputs)
        outputs = flat(self.call(operator, *cast))
        floating = [x for x in outputs if x.is_floating_point()]
        assert outputs, "no output"
        assert all(x.isfinite().all() for x in floating), f"not finite: {outputs}"
        assert all(x.dtype == self.dtypes[dtype] for x in floating), [x.dtype for x in floating]

    def test_shape(self, variant, size):
        operator, inputs = self._prepared(variant, size)
        found = mapped(lambda x: tuple(x.shape), self.call(operator, *inputs))
        assert found == self.shapes(*size), f"shapes are {found}, not {self.shapes(*size)}"

    def test_bad_input(self, variant):
        for arguments, words in self.bad_arguments:
            _raises(partial(self.build, **arguments), ValueError, words)
        operator, _ = self._prepared(variant)
        with without_shape_checks():
            bad_inputs = list(self.bad_inputs())
            is_refused = bool(self.bad_arguments or bad_inputs)
            assert is_refused or self.takes_everything, "neither bad inputs nor takes_everything"
            assert not (is_refused and self.takes_everything), "takes_everything, and refuses"
            for inputs, error, words in bad_inputs:
                _raises(partial(self.call, operator, *inputs), error, words)

    def test_gradcheck(self, variant):
        with without_shape_checks(), _double_precision():
            operator, inputs = self._prepared(variant)
            leaves = self._requiring_gradients(operator, inputs)

            def outputs(*_: Tensor) -> tuple[Tensor, ...]:  # gradcheck moves the leaves in place
                return tuple(x for x in flat(self.call(operator, *inputs)) if x.requires_grad)

            if self.not_differentiable:
                assert not outputs(), "outputs have a gradient"
                return
            dead = [k for k, g in enumerate(_gradients(outputs(), leaves)) if not g.any()]
            assert not dead, f"no gradient reaches leaves {dead}"
            checks = dict(fast_mode=True, check_undefined_grad=False)
            assert torch.autograd.gradcheck(outputs, leaves, **checks)

    @pytest.mark.filterwarnings("ignore::UserWarning:torch._dynamo.*")
    def test_compile(self, variant):
        torch._dynamo.reset()
        # "aot_eager" traces the backward pass, too, and takes twice as long.
        is_first = variant == next(iter(self.variants))
        backend = "aot_eager" if is_first and not self.graph_breaks else "eager"
        compiler = partial(torch.compile, backend=backend, fullgraph=not self.graph_breaks)
        with without_shape_checks():
            eager = self._outputs_and_gradients(variant, lambda operator: operator)
            compiled = self._outputs_and_gradients(variant, compiler)
        torch.testing.assert_close(compiled, eager)

    def _prepared(self, variant: str, size: tuple | None = None) -> tuple[Callable, tuple]:
        torch.manual_seed(0)
        self.arguments = self.variants[variant]
        operator = self.build(**self.arguments)
        return operator, self.inputs(*(self.sizes[0] if size is None else size))

    def _requiring_gradients(self, operator: Callable, inputs: tuple) -> list[Tensor]:
        return [x.requires_grad_() for x in self.leaves(operator, inputs)]

    def _outputs_and_gradients(
        self, variant: str, compiler: Callable[[Callable], Callable]
    ) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        operator, inputs = self._prepared(variant)
        leaves = self._requiring_gradients(operator, inputs)
        outputs = flat(self.call(compiler(operator), *inputs))
        differentiable = [x for x in outputs if x.requires_grad]
        return [x.detach() for x in outputs], _gradients(differentiable, leaves)


def mapped(function: Callable[[Tensor], Any], tree: Any) -> Any:
    """The same lists, tuples and dicts, with the function's results in place of tensors."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {key: mapped(function, value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(mapped(function, value) for value in tree)
    return tree


def flat(tree: Any) -> list[Tensor]:
    """All tensors in lists, tuples and dicts."""
    found: list[Tensor] = []
    mapped(found.append, tree)
    return found


@contextmanager
def without_shape_checks() -> Iterator[None]:
    """Functions run as users run them; ``torch.compile`` does not see the checks either."""
    with pytest.MonkeyPatch.context() as patch:
        for owner in _checked_owners():
            for name, value in list(vars(owner).items()):
                if (plain := _unchecked(value)) is not value:
                    patch.setattr(owner, name, plain)
        # What tests have imported by name is still decorated, and calls the plain function now;
        # functions inside of functions are decorated when the outer one runs.
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        patch.setattr(jaxtyping, "jaxtyped", lambda **_: lambda function: function)
        yield


@contextmanager
def _double_precision() -> Iterator[None]:
    """Float64 also where the code asks for float32."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Tensor, "float", Tensor.double)
            patch.setattr(torch, "float32", torch.float64)
            yield
    finally:
        torch.set_default_dtype(default)


def _checked_owners() -> list[Any]:
    """Modules whose functions are checked, and their classes."""
    modules = [m for name, m in sys.modules.items() if name.startswith(tuple(CHECKED))]
    found = {x for m in modules for x in vars(m).values() if isinstance(x, type)}
    return modules + [x for x in found if x.__module__.startswith(tuple(CHECKED))]


def _unchecked(value: Any) -> Any:
    """A function, method or property without the decorator of jaxtyping's import hook."""
    if isinstance(value, (classmethod, staticmethod)):
        return type(value)(_unchecked(value.__func__))
    if isinstance(value, property):
        return property(_unchecked(value.fget), _unchecked(value.fset))
    home = getattr(value, "__globals__", {}).get("__name__")
    return value.__wrapped__ if home == jaxtyping.jaxtyped.__module__ else value


def _gradients(outputs: Iterable[Tensor], leaves: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Of a sum of all outputs in which no two elements weigh the same."""
    weighted = [(x * torch.linspace(1, 2, x.numel()).view_as(x)).sum() for x in outputs]
    if not weighted:
        return ()
    total = torch.stack(weighted).sum()
    return torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)


def _raises(call: Callable, error: Any, words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        call()

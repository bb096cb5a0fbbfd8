"""What every registered model promises, in every way of being asked that it serves."""

from __future__ import annotations

import pytest
import torch

from metacli.episode import Spec
from metacli.registry import MODELS, resolve

B, S, Q, N = 3, 4, 5, 3
SPECS = {
    "independent": Spec("independent", (1, 16, 16), N, N, S + 1),
    "embedded": Spec("independent", (1, 16, 16), 8, 8, S + 1, random_labels=True),
    "stream": Spec("stream", (1, 16, 16), N, N, Q),
    "sequence": Spec("sequence", (6,), 0, 4, S + Q),
}


def tiny_config(name: str, mode: str):
    cls = resolve(MODELS, name, "model")
    encoder = {"kind": "flat"} if mode == "sequence" else {"kind": "conv", "channels": 4, "size": 6}
    return cls, cls.Config.model_validate({"name": name, "encoder": encoder, **cls.tiny})


def serves(name: str, mode: str) -> bool:
    cls, config = tiny_config(name, mode)
    return cls.check_compatible(config, SPECS[mode]) is None


def cases() -> list[tuple[str, str]]:
    return [(name, mode) for name in MODELS for mode in SPECS if serves(name, mode)]


def make(name: str, mode: str, dtype: torch.dtype = torch.float64):
    cls, config = tiny_config(name, mode)
    torch.manual_seed(0)
    model = cls(config, SPECS[mode]).to(dtype)
    for module in model.modules():  # statistics that are not those of a fresh network
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def data(mode: str, seed: int = 1, dtype: torch.dtype = torch.float64):
    spec, g = SPECS[mode], torch.Generator().manual_seed(seed)
    count = S if mode != "stream" else 0
    x_train = torch.rand(B, count, *spec.x_shape, generator=g, dtype=dtype)
    x_test = torch.rand(B, Q, *spec.x_shape, generator=g, dtype=dtype)
    labels = torch.eye(max(spec.y_size, 1), spec.y_size, dtype=dtype)
    if spec.random_labels:
        labels = torch.linalg.qr(torch.randn(labels.shape, generator=g, dtype=dtype)).Q
    y_train = labels[torch.randint(max(spec.y_size, 1), (B, count), generator=g)]
    y_previous = labels[torch.randint(N, (B, Q), generator=g)] if mode == "stream" else None
    return x_train, y_train, x_test, y_previous


def run(model, x_train, y_train, x_test, y_previous, mask=None):
    return model.predict(model.adapt(x_train, y_train, mask), x_test, y_previous)


def tensors(tree):
    """The tensors of a phi, whatever its nesting."""
    if isinstance(tree, torch.Tensor):
        yield tree
    else:
        assert hasattr(tree, "_asdict"), "phi is a NamedTuple of tensors"
        for part in tree:
            yield from tensors(part)


@pytest.mark.parametrize(("name", "mode"), cases())
class TestContract:
    def test_shapes_dtype_and_finite(self, name, mode):
        for dtype in (torch.float32, torch.float64):
            logits = run(make(name, mode, dtype), *data(mode, dtype=dtype))
            assert logits.shape == (B, Q, SPECS[mode].out_size)
            assert logits.dtype == dtype
            assert logits.isfinite().all()

    def test_gradient_reaches_every_parameter(self, name, mode):
        model = make(name, mode).train()
        run(model, *data(mode)).square().sum().backward()
        missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert not missing

    def test_batch_row_equals_single_run(self, name, mode):
        model, batch = make(name, mode), data(mode)
        together = run(model, *batch)
        for row in range(B):
            alone = run(model, *(None if t is None else t[row : row + 1] for t in batch))
            torch.testing.assert_close(together[row : row + 1], alone)

    def test_other_queries_do_not_matter(self, name, mode):
        model, (x_train, y_train, x_test, y_previous) = make(name, mode), data(mode)
        before = run(model, x_train, y_train, x_test, y_previous)
        changed = x_test.clone()
        changed[:, -1] = torch.rand_like(changed[:, -1])
        after = run(model, x_train, y_train, changed, y_previous)
        torch.testing.assert_close(before[:, :-1], after[:, :-1])  # in order: the past; independent: all others
        assert (before[:, -1] - after[:, -1]).abs().amax(-1).gt(1e-9).all()
        if SPECS[mode].mode == "independent":
            order = torch.randperm(Q)
            torch.testing.assert_close(run(model, x_train, y_train, x_test[:, order], None), before[:, order])

    def test_padding_of_d_train_is_not_read(self, name, mode):
        if mode == "stream":
            pytest.skip("a stream has no D_train")
        model, (x_train, y_train, x_test, y_previous) = make(name, mode), data(mode)
        mask = torch.ones(B, S, dtype=torch.bool)
        mask[1, 2:] = False
        padded = run(model, x_train, y_train, x_test, y_previous, mask)
        short = run(model, x_train[1:2, :2], y_train[1:2, :2], x_test[1:2], None)
        torch.testing.assert_close(padded[1:2], short)
        torch.testing.assert_close(padded[:1], run(model, x_train[:1], y_train[:1], x_test[:1], None))
        assert (padded[1] - run(model, x_train, y_train, x_test, y_previous)[1]).abs().max() > 1e-9

    def test_relabelling_changes_the_answer(self, name, mode):
        if mode == "sequence":
            pytest.skip("sequences carry no labels")
        model, (x_train, y_train, x_test, y_previous) = make(name, mode), data(mode)
        before = run(model, x_train, y_train, x_test, y_previous)
        relabelled = run(
            model, x_train, y_train.roll(1, -1), x_test, None if y_previous is None else y_previous.roll(1, -1)
        )
        assert (before - relabelled).abs().max() > 1e-9

    def test_what_was_answered_before_stands(self, name, mode):
        """In order, later items do not change an earlier answer; each alone, asking does not change phi."""
        model, (x_train, y_train, x_test, y_previous) = make(name, mode), data(mode)
        if SPECS[mode].mode == "independent":
            phi = model.adapt(x_train, y_train)
            before = [t.clone() for t in tensors(phi)]
            first = model.predict(phi, x_test[:, :2])
            assert all(torch.equal(a, b) for a, b in zip(before, tensors(phi), strict=True))
            torch.testing.assert_close(model.predict(phi, x_test)[:, :2], first)
        else:
            whole = run(model, x_train, y_train, x_test, y_previous)
            part = run(model, x_train, y_train, x_test[:, :3], None if y_previous is None else y_previous[:, :3])
            torch.testing.assert_close(whole[:, :3], part)

    def test_state_dict_round_trip(self, name, mode):
        model, batch = make(name, mode), data(mode)
        twin = make(name, mode)
        for p in twin.parameters():
            torch.nn.init.normal_(p)
        twin.load_state_dict(model.state_dict())
        torch.testing.assert_close(run(twin, *batch), run(model, *batch), rtol=0, atol=0)

    def test_every_tensor_of_phi_is_on_the_models_device_and_of_its_dtype(self, name, mode):
        device = torch.device("cuda" if torch.cuda.is_available() else "meta")
        model = make(name, mode).to(device)
        x_train, y_train, x_test, y_previous = (None if t is None else t.to(device) for t in data(mode))
        phi = model.adapt(x_train, y_train)
        found = list(tensors(phi))
        assert found
        assert {t.device.type for t in found} == {device.type}
        assert {t.dtype for t in found if t.is_floating_point()} <= {torch.float64}
        assert {len(t) for t in found} == {B}
        assert model.predict(phi, x_test, y_previous).device.type == device.type


@pytest.mark.parametrize(("name", "mode"), [case for case in cases() if case[1] == "independent"])
def test_phi_of_the_beginning_is_extended_to_phi_of_all(name, mode):
    model, (x_train, y_train, x_test, _) = make(name, mode), data(mode)
    if not model.can_extend:
        with pytest.raises(NotImplementedError):
            model.extend(model.adapt(x_train, y_train), x_train, y_train)
        return
    with torch.no_grad():
        phi = model.adapt(x_train[:, :2], y_train[:, :2])
        before = [t.clone() for t in tensors(phi)]
        longer = model.extend(phi, x_train[:, 2:], y_train[:, 2:])
        whole = model.adapt(x_train, y_train)
    for one, other in zip(tensors(longer), tensors(whole), strict=True):
        torch.testing.assert_close(one, other)
    assert all(torch.equal(one, other) for one, other in zip(before, tensors(phi), strict=True)), "phi is a value"
    torch.testing.assert_close(model.predict(longer, x_test), model.predict(whole, x_test))

"""Samples that are made fit the model; samples that are given are held against it."""

import io
import zipfile

import numpy as np
import pytest

from controlplane.domain import Signature, TensorSpec
from controlplane.registry.formats.inspected import MOST_SAMPLE_BYTES
from controlplane.registry.formats.samples import MOST_UNPACKED_BYTES, check_sample, make_sample
from modelyard.errors import InvalidArgumentError

INTEGERS = [f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
DATATYPES = ["BOOL", *INTEGERS, "FP16", "BF16", "FP32", "FP64", "BYTES"]  # all of KServe v2


def takes(*inputs: tuple[str, str, tuple[int, ...]]) -> Signature:
    return Signature(tuple(TensorSpec(*one) for one in inputs), (TensorSpec("y", "FP32", (1,)),))


ONE = takes(("x", "FP32", (-1, 3)))


def npz(**arrays: np.ndarray) -> bytes:
    target = io.BytesIO()
    np.savez(target, **arrays)  # type: ignore[arg-type]
    return target.getvalue()


def made(signature: Signature) -> bytes:
    sample = make_sample(signature)
    assert sample is not None
    return sample


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("shape", [(), (-1,), (2, -1, 3), (0, 2)])
def test_a_sample_that_is_made_fits(datatype: str, shape: tuple[int, ...]) -> None:
    signature = takes(("x", datatype, shape), ("file", "FP32", (2,)), ("a/b:0", datatype, shape))
    sample = made(signature)
    check_sample(sample, signature)
    assert sample == made(signature)
    arrays = np.load(io.BytesIO(sample))
    assert set(arrays.files) == {"x", "file", "a/b:0"}
    assert arrays["x"].shape == tuple(abs(size) for size in shape)


def test_floats_lie_between_0_and_1_and_integers_are_0() -> None:
    signature = takes(("f", "FP16", (10_000,)), ("b", "BF16", (10_000,)), ("i", "INT64", (5,)), ("s", "BYTES", (2,)))
    arrays = np.load(io.BytesIO(made(signature)))
    widened = (arrays["b"].astype(np.uint32) << 16).view(np.float32)
    for floats in (arrays["f"], widened):
        assert 0 <= floats.min() < 0.01
        assert 0.99 < floats.max() <= 1
    assert not arrays["i"].any()
    assert list(arrays["s"]) == [b"", b""]


def test_what_would_be_too_large_is_not_made() -> None:
    assert make_sample(takes(("x", "FP32", (1, 100_000, 1000)))) is None
    edge = (MOST_SAMPLE_BYTES - 4096) // 4
    assert len(made(takes(("x", "FP32", (edge,))))) <= MOST_SAMPLE_BYTES
    assert make_sample(Signature((), ())) is None


@pytest.mark.parametrize(
    "sample",
    [
        npz(x=np.zeros((7, 3), np.float32)),
        npz(x=np.asfortranarray(np.zeros((7, 3), np.float32))),
        npz(x=np.zeros((0, 3), np.float32)),
    ],
)
def test_a_given_sample_that_fits_is_taken(sample: bytes) -> None:
    check_sample(sample, ONE)


def test_texts_are_taken_as_bytes_or_text() -> None:
    signature = takes(("t", "BYTES", (-1,)))
    check_sample(npz(t=np.array([b"a", b"longer"])), signature)
    check_sample(npz(t=np.array(["ä", "x"])), signature)


@pytest.mark.parametrize(
    ("sample", "told"),
    [
        (npz(z=np.zeros((1, 3), np.float32)), "arrays 'z', and the model takes 'x'"),
        (npz(x=np.zeros((1, 3), np.float32), y=np.zeros(1)), "arrays 'x', 'y', and"),
        (npz(), "arrays none, and"),
        (npz(x=np.zeros((1, 3))), r"type float64, and the model takes FP32.*astype\('float32'\)"),
        (npz(x=np.zeros((1, 3), ">f4")), "type float32, and|type >f4|takes FP32"),
        (npz(x=np.zeros((1, 4), np.float32)), r"shape \[1, 4\], and the model takes \[-1, 3\]"),
        (npz(x=np.zeros(3, np.float32)), r"shape \[3\]"),
        (npz(x=np.array([{}, {}], object)), "Python objects"),
        (b"not a zip", r"no \.npz file.*np\.savez"),
        (npz(x=np.zeros((1, 3), np.float32))[:-30], r"no \.npz file"),
    ],
)
def test_a_given_sample_that_does_not_fit_is_refused(sample: bytes, told: str) -> None:
    with pytest.raises(InvalidArgumentError, match=told):
        check_sample(sample, ONE)


def member(header: dict[str, object], data: bytes, name: str = "x.npy") -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(data)
    return target.getvalue()


@pytest.mark.parametrize(
    ("sample", "told"),
    [
        (
            member({"descr": "<f4", "fortran_order": False, "shape": (MOST_UNPACKED_BYTES, 3)}, b""),
            "more than 67108864 bytes",
        ),
        (member({"descr": "<f4", "fortran_order": False, "shape": (1, 3)}, bytes(80 << 20)), "not as many bytes"),
        (member({"descr": "<f4", "fortran_order": False, "shape": (1, 3)}, bytes(4)), "not as many bytes"),
        (member({"descr": "<f4", "fortran_order": False, "shape": (-1, -3)}, bytes(12)), "more than|not as many"),
        (member({"descr": "<f4", "fortran_order": False, "shape": (1, 3)}, bytes(12), "x"), "'x' is no array"),
    ],
)
def test_a_sample_that_lies_about_its_size_is_refused(sample: bytes, told: str) -> None:
    with pytest.raises(InvalidArgumentError, match=told):
        check_sample(sample, ONE)


def test_any_readable_sample_is_taken_where_there_is_no_signature() -> None:
    check_sample(npz(anything=np.zeros(3)), Signature((), ()))
    with pytest.raises(InvalidArgumentError, match=r"no \.npz file"):
        check_sample(b"x", Signature((), ()))

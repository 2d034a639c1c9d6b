import pytest

from vertebra.core import VertebraError, parse_bytes, parse_shape


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("16GiB", 16 * 2**30),
        ("16G", 16 * 2**30),
        ("16 gb", 16 * 10**9),
        ("1.5K", 1536),
        ("800MB", 800_000_000),
        ("512", 512),
        ("7b", 7),
        ("2TiB", 2**41),
    ],
)
def test_bytes(text: str, number: int) -> None:
    assert parse_bytes(text) == number


@pytest.mark.parametrize("text", ["", "GiB", "-4G", "16 XB", "1e3", "16GG", "four"])
def test_no_bytes(text: str) -> None:
    with pytest.raises(VertebraError, match="an amount of memory is like 16GiB"):
        parse_bytes(text)


def test_shapes() -> None:
    assert parse_shape("3x224x224") == (3, 224, 224)
    assert parse_shape("3, 224, 192") == (3, 224, 192)
    assert parse_shape("77") == (77,)


@pytest.mark.parametrize("text", ["", "3x", "3x0x2", "axb", "3x-1x4", "3.5x2"])
def test_no_shapes(text: str) -> None:
    with pytest.raises(VertebraError, match="a shape is like 3x224x224"):
        parse_shape(text)


@pytest.mark.parametrize("text", ["0", "0GiB", "0.3"])
def test_no_memory_at_all(text: str) -> None:
    with pytest.raises(VertebraError, match="at least a byte"):
        parse_bytes(text)

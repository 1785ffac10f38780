"""Every mode and depth of image files is scaled by its depth, or an error names it."""

import io
import struct
import zlib

from lowres_d2.data import BrokenImageError, DetectionMapper
from lowres_d2.data.image import ImageReader, UnfitImageError, load_image
from lowres_d2.data.validation.image_file import look_at

import cv2
import numpy as np
import pytest
from PIL import Image

RNG = np.random.default_rng(3)
GREY16 = RNG.integers(0, 65536, (12, 20), dtype=np.uint16)
COLOUR16 = RNG.integers(0, 65536, (12, 20, 3), dtype=np.uint16)
GREY8 = RNG.integers(0, 256, (12, 20), dtype=np.uint8)
COLOUR8 = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)


def saved(tmp_path, content, name="image.png"):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, Image.Image):
        content.save(path)
    elif path.suffix == ".npy":
        np.save(path, content)
    else:  # OpenCV writes BGR
        cv2.imwrite(str(path), content[..., ::-1] if content.ndim == 3 else content)
    return str(path)


def tiff(values, bits, kind, photometric=1):
    """An uncompressed little-endian TIFF; kind is 1 for unsigned, 2 signed, 3 floating point."""
    height, width = values.shape[:2]
    data = values if isinstance(values, bytes) else values.tobytes()
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8)]
    tags += [(277, 1), (278, height), (279, len(data)), (339, kind)]
    return with_tags(data, tags)


def with_tags(data, tags):
    data += b"\0" * (len(data) % 2)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    start = struct.pack("<I", 8 + len(data))
    return b"II*\0" + start + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def png16(values, colour_type):
    """A PNG of 16 bits, of a type that neither Pillow nor OpenCV writes."""

    def chunk(name, data):
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def big_endian(values):
    image = Image.frombytes("I;16B", values.shape[::-1], values.astype(">u2").tobytes())
    file = io.BytesIO()
    image.save(file, "TIFF")
    return file.getvalue()


DEEP_GREY = {
    "png": (GREY16, "a.png"),
    "tiff": (GREY16, "a.tif"),
    "big-endian tiff": (big_endian(GREY16), "a.tif"),
    "white is zero": (tiff(65535 - GREY16, 16, 1, photometric=0), "a.tif"),
    "32 bits": (tiff(GREY16.astype(np.uint32) * 65537, 32, 1), "a.tif"),
    "pgm": (GREY16, "a.pgm"),
    "png with alpha": (png16(np.dstack([GREY16, GREY16]), 4), "a.png"),
    "numpy": (GREY16, "a.npy"),
}


@pytest.mark.parametrize("name", DEEP_GREY)
def test_deep_grey_images_are_scaled_by_their_depth(tmp_path, name):
    path = saved(tmp_path, *DEEP_GREY[name])
    expected = GREY16 / 257
    for form, channels in (("RGB", 3), ("BGR", 3), ("L", 1)):
        pixels = load_image(path, form)
        assert pixels.dtype == np.float32 and pixels.shape == (12, 20, channels)
        assert np.abs(pixels - expected[..., None]).max() < 1e-3
    shown = ImageReader("L").show(path)
    assert np.array_equal(shown, np.repeat(expected.round()[..., None], 3, axis=2))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_deep_colours_keep_all_their_bits(tmp_path, name):
    path = saved(tmp_path, COLOUR16, name)
    pixels = load_image(path, "RGB")
    assert np.abs(pixels - COLOUR16 / 257).max() < 1e-3
    assert np.array_equal(load_image(path, "BGR"), pixels[..., ::-1])
    luma = COLOUR16 @ [0.299, 0.587, 0.114] / 257
    assert np.abs(load_image(path, "L")[..., 0] - luma).max() < 1e-3


def test_alpha_is_no_colour_at_any_depth(tmp_path):
    deep = saved(tmp_path, png16(np.dstack([COLOUR16, GREY16]), 6))
    assert np.abs(load_image(deep, "RGB") - COLOUR16 / 257).max() < 1e-3
    assert load_image(deep, None).shape == (12, 20, 4)
    grey = Image.merge("LA", [Image.fromarray(GREY8), Image.fromarray(255 - GREY8)])
    assert np.array_equal(load_image(saved(tmp_path, grey), "RGB")[..., 2], GREY8)


def test_twelve_bits_are_scaled_by_twelve_bits(tmp_path):
    values = RNG.integers(0, 4096, (12, 20))
    pairs = values.reshape(-1, 2)
    packed = np.stack(
        [pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=1
    )
    data = packed.astype(np.uint8).tobytes()
    tags = [(256, 20), (257, 12), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 12)]
    path = saved(tmp_path, with_tags(data, [*tags, (279, len(data))]), "a.tif")
    assert np.abs(load_image(path, "L")[..., 0] - values * (255 / 4095)).max() < 1e-3


EIGHT_BITS = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"]


@pytest.mark.filterwarnings("ignore:IM image format")  # the only one for two of the modes
@pytest.mark.parametrize("mode", EIGHT_BITS)
def test_images_of_eight_bits_are_as_pillow_converts_them(tmp_path, mode):
    image = Image.fromarray(COLOUR8).convert(mode)
    # Formats that hold the mode as it is.
    name = {"PA": "a.im", "CMYK": "a.tif", "YCbCr": "a.im"}.get(mode, "a.png")
    path = saved(tmp_path, image, name)
    assert Image.open(path).mode == mode
    for form in ("RGB", "L"):
        pixels = load_image(path, form)
        assert pixels.dtype == np.uint8
        assert np.array_equal(np.squeeze(pixels), np.asarray(Image.open(path).convert(form)))
    if mode in ("P", "PA"):
        with pytest.raises(UnfitImageError, match=f"mode {mode}: has a palette"):
            load_image(path, None)
    else:
        assert load_image(path, None).shape == (12, 20, max(1, len(image.getbands())))


UNKNOWN_RANGE = {
    "F": (tiff(GREY16.astype(np.float32), 32, 3), "a.tif"),
    "I": (tiff((GREY16 >> 1).astype(np.int16), 16, 2), "a.tif"),
    "float32": (GREY16.astype(np.float32), "a.npy"),
    "int64": (GREY16.astype(np.int64), "a.npy"),
}


@pytest.mark.parametrize("mode", UNKNOWN_RANGE)
def test_values_of_unknown_range_need_a_setting(tmp_path, mode):
    path = saved(tmp_path, *UNKNOWN_RANGE[mode])
    with pytest.raises(BrokenImageError, match=rf"a\.\w+: mode {mode}: .*value_range=\[low,high\]"):
        DetectionMapper(True)({"file_name": path})
    values = GREY16 >> 1 if mode == "I" else GREY16
    mapper = DetectionMapper(True, value_range=(1000, 30000))
    expected = ((values - 1000.0) * 255 / 29000).clip(0, 255)
    pixels = mapper({"file_name": path})["image"]
    assert np.abs(pixels.numpy() - expected).max() < 1e-3
    # Shown from the smallest to the largest value, where nothing else is known.
    assert (ImageReader().show(path).min(), ImageReader().show(path).max()) == (0, 255)


def test_nan_in_an_image_is_an_error_even_with_a_range(tmp_path):
    path = saved(tmp_path, np.array([[1.0, np.nan]], np.float32), "a.npy")
    with pytest.raises(BrokenImageError, match="NaN or infinite"):
        DetectionMapper(True, value_range=(0, 1))({"file_name": path})


def test_modes_that_cannot_be_converted_are_named(tmp_path):
    path = saved(tmp_path, Image.fromarray(COLOUR8).convert("LAB"), "a.tif")
    with pytest.raises(BrokenImageError, match=r"a\.tif: mode LAB"):
        DetectionMapper(True)({"file_name": path})
    assert load_image(path, None).shape == (12, 20, 3)


def test_a_range_applies_to_eight_bits_too(tmp_path):
    path = saved(tmp_path, GREY8)
    pixels = ImageReader("L", value_range=(50, 100)).read(path)[..., 0]
    assert np.allclose(pixels, ((GREY8 - 50.0) * 5.1).clip(0, 255), atol=1e-3)


def test_training_evaluation_validation_and_display_read_the_same(tmp_path, caplog):
    values = GREY16 % 1000 + 7000
    path = saved(tmp_path, values)
    record = {"file_name": path, "height": 12, "width": 20, "annotations": []}
    train, test = DetectionMapper(True, image_format="RGB"), DetectionMapper(False)
    assert np.array_equal(train(record)["image"].numpy(), test(record)["image"].numpy())
    assert np.abs(train(record)["image"][0].numpy() - values / 257).max() < 1e-3
    assert caplog.text.count("set dataloader.train.mapper.value_range=[low,high]") == 2  # each once
    assert f"its values, {values.min()} to {values.max()}, span little" in caplog.text
    caplog.clear()
    for ends, warned in (((0, 65535), False), ((7000, 99000), False), ((0, 1), True)):
        DetectionMapper(True, value_range=ends)(record)
        assert ("are outside of value_range, 0 to 1" in caplog.text) == warned
        assert warned or not caplog.text
    seen = look_at(tmp_path / "image.png", "draft")
    assert (seen.problem, seen.is_narrow) == (None, True)
    assert np.allclose(seen.spread, [values.min() / 257, values.max() / 257])
    ranged = ImageReader("RGB", value_range=(7000, 8000))
    assert not look_at(tmp_path / "image.png", "draft", ranged).is_narrow
    assert np.abs(ranged.show(path)[..., 0] - (values - 7000) * 0.255).max() <= 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_format": "GRB"}, "image_format='GRB': expected RGB, BGR, L"),
        ({"image_format": "YUV-BT.601"}, "expected RGB, BGR, L"),
        ({"value_range": [3, 3]}, r"value_range=\[3, 3\]: expected \[low, high\]"),
        ({"max_pixels": 0}, "max_pixels=0: expected 1 or more"),
        ({"exif": "auto"}, "exif='auto': expected one of check, apply, ignore"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DetectionMapper(True, **settings)


@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"byteorder": ">"}])
def test_colours_of_16_bits_band_by_band_are_read_or_refused(tmp_path, options):
    tifffile = pytest.importorskip("tifffile")
    content = np.random.default_rng(0).integers(0, 65536, (3, 20, 30), dtype=np.uint16)
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, content, photometric="rgb", planarconfig="separate", **options)
    found = ImageReader(None).read(str(file))
    np.testing.assert_allclose(found, content.transpose(1, 2, 0) * (255 / 65535), rtol=1e-6)
    with pytest.raises(ValueError, match=r"16-bit colours band by band.*image_format=null"):
        ImageReader("RGB").read(str(file))
    upper = (content >> 8).astype(np.uint8)
    tifffile.imwrite(file, upper, photometric="rgb", planarconfig="separate")
    assert np.array_equal(ImageReader("RGB").read(str(file)), upper.transpose(1, 2, 0))


def test_signed_bytes_are_no_unsigned_ones(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    content = np.arange(-128, 128, dtype=np.int8).reshape(16, 16)
    tifffile.imwrite(tmp_path / "a.tif", content, photometric="minisblack")
    for form in ("L", None):
        with pytest.raises(ValueError, match="values, -128 to 127 in this file, have no known"):
            ImageReader(form).read(str(tmp_path / "a.tif"))
        found = ImageReader(form, value_range=(-128, 127)).read(str(tmp_path / "a.tif"))
        assert np.array_equal(found[..., 0], np.arange(256).reshape(16, 16))

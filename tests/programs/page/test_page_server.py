"""The page as a program of its own that is asked over HTTP, hostile files among what it is sent."""

import json
import socket
import urllib.request

import lowres_d2
from lowres_d2.programs.page_detectors import PageDetector

import numpy as np
import pytest
from PIL import Image

client = pytest.importorskip("gradio_client", reason="the page needs lowres-d2[demo]")
page_layout = pytest.importorskip("lowres_d2.programs.page_layout")
SCORE, FACTOR = 0.3, 2  # the factor of the any-factor recipe


@pytest.fixture(scope="module")
def ask(served, tmp_path_factory):
    """Function that uploads a file; gives the page's last status, and all that cards showed."""
    pictures = tmp_path_factory.mktemp("pictures")
    page = client.Client(served.address, verbose=False, download_files=str(pictures))

    def ask(file):
        page.predict(client.handle_file(str(file)), api_name="/upload")
        job = page.submit(SCORE, FACTOR, api_name="/detect")
        job.result(timeout=60)
        steps = job.outputs()
        return steps[-1][0], [value for step in steps for value in step[1:]]

    yield ask
    page.close()


def scene(width=64, height=48):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def test_it_shows_what_load_finds(ask, page_runs, tmp_path):
    scene().save(tmp_path / "it.png")
    status, shown = ask(tmp_path / "it.png")
    assert status == "<p>it.png, 64 x 48 pixels.</p>"
    captions = [value for value in shown if "The detector sees" in str(value)]
    for caption, folder in zip(captions, page_runs.values(), strict=True):
        found = lowres_d2.load(folder)(tmp_path / "it.png", SCORE)
        assert len(found) and caption.startswith(f'<p class="numbers"><b>{len(found)} object')
    pictures = [value for value in shown if str(value).endswith(".png")]
    assert [Image.open(file).size for file in pictures] == [(640, 480)] * 4


def animated(path):
    scene().save(path, save_all=True, append_images=[scene().rotate(180)])


def rotated(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    scene().save(path, exif=exif)


def deep(path):
    Image.fromarray(np.asarray(scene())[..., 0].astype(np.uint16) * 257).save(path)


UNUSUAL = {
    "animated.gif": (animated, "64 x 48 pixels. It has several frames or pages: the first one is"),
    "rotated.jpg": (rotated, "48 x 64 pixels. EXIF rotates it."),
    "palette.png": (lambda path: scene().quantize(16).save(path), "64 x 48 pixels."),
    "cmyk.jpg": (lambda path: scene().convert("CMYK").save(path), "64 x 48 pixels."),
    "deep.png": (
        lambda path: Image.fromarray(np.asarray(scene())[..., 0].astype(np.uint16) * 257).save(
            path
        ),
        "64 x 48 pixels.",
    ),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_images_are_shown(ask, tmp_path, name):
    write, said = UNUSUAL[name]
    write(tmp_path / name)
    status, shown = ask(tmp_path / name)
    assert status.startswith(f"<p>{name}, {said}")
    assert sum("The detector sees" in str(value) for value in shown) == 2


def text(path):
    path.write_text("<script>alert(1)</script>")


def truncated(path):
    scene(640, 480).save(path)
    path.write_bytes(path.read_bytes()[:5000])


HOSTILE = {
    "text.png": (text, "cannot be read as an image (is of no format that Pillow reads)"),
    "cut.jpg": (truncated, "cannot be read as an image (image file is truncated"),
    "bomb.png": (
        lambda path: Image.new("1", (20_000, 5_000)).save(path),
        "20000x5000 are 100,000,000 pixels, over the limit of 25,000,000",
    ),
    "floats.npy": (
        lambda path: np.save(path, np.full((8, 8), np.nan, np.float32)),
        "cannot be read as an image",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_get_a_message(ask, tmp_path, name):
    write, said = HOSTILE[name]
    write(tmp_path / name)
    status, shown = ask(tmp_path / name)
    assert status.startswith(f'<p class="wrong">{name}: {said}')
    assert "Traceback" not in status and "/" not in status.removesuffix("</p>")
    assert not any("The detector sees" in str(value) for value in shown)


def test_what_one_detector_fails_on_is_shown_by_the_others(page_runs, tmp_path):
    class Failing:
        title = "mine"

        def find(self, path, factor):
            raise RuntimeError(f"a secret of {path}")

    scene().save(tmp_path / "it.png")
    detectors = [Failing(), PageDetector(str(page_runs["Thumbnails"]))]
    page = page_layout.Page(detectors, [])
    start, first, second, last = page.show(str(tmp_path / "it.png"), SCORE, FACTOR)
    # Nothing of the image before stays.
    assert start[1:3] == [{}, "<p>it.png: 0 of 2 detectors</p>"]
    assert start[3:] == [None, None, ""] * 2
    failed = "it.png: mine failed with a RuntimeError; the terminal of the page has more"
    assert first[3:6] == [None, None, f'<p class="wrong">{failed}</p>']
    assert "The detector sees" in second[8] and last[2] == "<p>it.png, 64 x 48 pixels.</p>"
    shown = page.cards(last[1], 1.0)
    assert shown[:3] == first[3:6] and "<b>0 objects</b>" in shown[5]


class Counting:
    """A detector that another image is asked for meanwhile; keeps what it was given."""

    title, factors = "mine", ()

    def __init__(self, meanwhile=lambda: None):
        self.given, self._meanwhile = [], meanwhile

    def find(self, path, factor):
        self.given.append(path)
        self._meanwhile()
        raise ValueError("nothing")


def test_another_image_ends_the_run_of_the_one_before(tmp_path):
    for name in ("a.png", "b.png"):
        scene().save(tmp_path / name)
    asked, wishes = page_layout.Asked(), []
    first = Counting(lambda: wishes or wishes.append(page.ask(str(tmp_path / "b.png"), asked)))
    second = Counting()
    page = page_layout.Page([first, second], [])
    wish = page.ask(str(tmp_path / "a.png"), asked)
    assert len([*page.wanted(wish, asked, SCORE, FACTOR)]) == 1  # its name, and no card
    assert second.given == []
    *_, last = page.wanted(wishes[0], asked, SCORE, FACTOR)
    assert last[2] == '<p class="wrong">nothing</p>'
    assert first.given == [str(tmp_path / "a.png"), *second.given]
    # As two events find it, whose images were dropped in one run of detectors.
    assert [*page.wanted(wishes[0], asked, SCORE, FACTOR)] == []


def test_an_upload_ends_the_run_of_the_one_before(served, tmp_path):
    Image.new("RGB", (1900, 1000)).save(tmp_path / "slow.png")
    scene().save(tmp_path / "it.png")
    page = client.Client(served.address, verbose=False, download_files=False)
    for name in ("slow.png", "it.png"):
        page.predict(client.handle_file(str(tmp_path / name)), api_name="/upload")
        if name == "slow.png":
            slow = page.submit(SCORE, FACTOR, api_name="/detect")
            next(iter(slow))  # it has begun
    slow.result(timeout=60)
    page.predict(SCORE, FACTOR, api_name="/detect")
    page.close()
    said = [step[0] for step in slow.outputs()]
    assert said[0] == "<p>slow.png: 0 of 2 detectors</p>" and "pixels" not in said[-1]


def test_detectors_get_a_copy_of_a_large_image(page_runs, tmp_path):
    scene(2400, 1800).save(tmp_path / "large.png")
    detector, counting = PageDetector(str(page_runs["Thumbnails"])), Counting()
    page = page_layout.Page([counting, detector], [])
    *_, last = page.show(str(tmp_path / "large.png"), SCORE, FACTOR)
    assert last[2] == (
        "<p>large.png, 1663 x 1247 pixels. This is a copy that detectors are quick on: the image "
        "has 2400 x 1800, all of which lowres-d2 demo looks at.</p>"
    )
    assert counting.given != [str(tmp_path / "large.png")]


def test_files_of_the_machine_are_not_given_away(served, tmp_path):
    scene().save(tmp_path / "private.png")
    file = {"path": str(tmp_path / "private.png"), "meta": {"_type": "gradio.FileData"}}
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    call = f"{served.address}gradio_api/call/upload"
    asked = json.dumps({"data": [file]}).encode()
    request = urllib.request.Request(call, asked, {"Content-Type": "application/json"})
    with direct.open(request, timeout=60) as answer:
        event = json.load(answer)["event_id"]
    with direct.open(f"{call}/{event}", timeout=60) as answer:
        said = answer.read().decode()
    assert said.startswith("event: error") and "private" not in said


def test_a_port_that_is_taken_is_named(served):
    port = int(served.address.rsplit(":")[-1].strip("/"))
    with page_layout.gr.Blocks(analytics_enabled=False) as blocks:
        pass
    with pytest.raises(OSError) as caught:
        page_layout.serve(blocks, "127.0.0.1", port)
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{port}: another program does, or it is no address of this "
        "machine; --host and --port choose another one"
    )


def test_it_listens_to_this_machine_alone(served):
    port = int(served.address.rsplit(":")[-1].strip("/"))
    with pytest.raises(ConnectionRefusedError):  # as one that listens on 0.0.0.0 would not
        socket.create_connection(("127.0.0.2", port), timeout=10)

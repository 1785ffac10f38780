"""Progress through images where there is no terminal."""

import lowres_d2.progress
from lowres_d2.progress import PERIOD, Lines, image_progress, with_progress


def test_a_line_says_count_rate_and_time_left_and_is_no_more_frequent_than_its_period(capsys):
    now = 100.0
    done = Lines(5000, begun=1000, clock=lambda: now)
    done(8)  # at once
    now += PERIOD
    done(592)
    now += PERIOD - 1
    done(100)  # too early
    now += 1
    done(500)
    now += 2 * PERIOD
    done(2800)  # the last images need no line
    assert capsys.readouterr().err.splitlines() == [
        "1,600 of 5,000 images, 20.0 a second, 0:02:50 left",
        "2,200 of 5,000 images, 20.0 a second, 0:02:20 left",
    ]


def test_there_are_lines_where_no_terminal_is(capsys):
    with image_progress(10) as done:
        assert isinstance(done, Lines)
        done(10)
    assert capsys.readouterr().err == ""


def test_a_wait_without_any_image_is_no_rate(capsys):
    now = 0.0
    done = Lines(10, clock=lambda: now)
    now = PERIOD
    done(0)
    assert capsys.readouterr().err == ""


def test_what_comes_of_images_is_passed_on_and_counted(monkeypatch, capsys):
    monkeypatch.setattr(lowres_d2.progress, "PERIOD", 0.0)
    assert list(with_progress(iter("abc"), 3, "letters")) == ["a", "b", "c"]
    said = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in said] == ["1 of 3 images", "2 of 3 images"]

"""Progress through images where there is no terminal."""

from lowres_d2.programs.progress import PERIOD, Lines, image_progress


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

"""How far stage 1 is, where no bar can be drawn: a line every half minute, without control characters."""

from io import StringIO

from rich.console import Console

from extract.progress import RunProgress


def test_without_a_terminal_a_line_now_and_then_tells_patients_slices_per_second_and_the_time_left():
    clock, screen = [0.0], Console(file=StringIO(), width=80)
    with RunProgress(screen, clock=lambda: clock[0]) as progress:
        progress.start_reading(10)
        for n in range(10):
            clock[0] += 4.0
            progress.has_read(f"P{n}")
        progress.start_embedding(120, 0)
        for _ in range(5):
            clock[0] += 10.0
            progress.has_embedded(50)
    # 8 patients in 32 s, 2 of 10 left at 4 s each; 3 patients in 30 s after the second line is due at 62 s.
    assert screen.file.getvalue().splitlines() == [
        "reading: 8 of 10 patients, about 8 s left",
        "embedding: 3 of 120 patients, 5 slices/s, about 20 min left",
    ]


def test_a_line_that_was_said_of_another_variant_is_not_said_again():
    said, screen = set(), Console(file=StringIO(), width=80)
    for _ in range(2):
        with RunProgress(screen, said) as progress:
            progress.say("cohort.csv: art is read as AP")
    assert screen.file.getvalue() == "cohort.csv: art is read as AP\n"

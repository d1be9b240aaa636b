from image2music.failures import counted, one_line


def test_a_number_is_said_with_what_it_counts():
    assert [counted(number, "row") for number in (0, 1, 2, 12_345)] == ["0 rows", "1 row", "2 rows", "12,345 rows"]
    assert [counted(number, "batch", "batches") for number in (1, 2)] == ["1 batch", "2 batches"]


def test_a_message_is_one_line_and_its_class_where_it_is_empty():
    assert one_line(ValueError("two\n  lines")) == "two lines"
    assert one_line(ValueError()) == "ValueError"
    assert len(one_line(ValueError("long " * 1000))) == 500


def test_of_a_traceback_the_last_line_counts():
    text = 'Traceback (most recent call last):\n  File "a.py", line 1\nRuntimeError: OSError: the disk is full\n\n'
    assert one_line(RuntimeError(text)) == "OSError: the disk is full"


def test_places_in_lances_source_are_left_out():
    error = OSError("LanceError(IO): no space (os error 28), /home/runner/rust/writer.rs:190:9 [while running 'Write']")
    assert one_line(error) == "LanceError(IO): no space (os error 28) [while running 'Write']"

from image2music.failures import one_line


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

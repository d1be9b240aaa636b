import pytest
from fakes import two_voice_tune

from image2music.loop.choose import examine, voices_of_abc
from image2music.music.planning.plan import Plan, PlannedVoice, Role, Section, VoicePart


def test_a_valid_tune_is_measured():
    draft = examine(two_voice_tune(1), references=[]).draft
    assert draft.errors == 0
    assert draft.metrics is not None
    assert draft.longest_copy == 0


def test_a_bar_that_is_far_too_long_is_an_error_and_the_tune_is_not_measured():
    draft = examine("X:1\nT:Long\nM:4/4\nL:1/4\nK:C\nC D E F | C8 D8 | C D E F |]\n", references=[]).draft
    assert [diagnostic.code for diagnostic in draft.diagnostics] == ["bar-too-long"]
    assert draft.metrics is None


def test_what_was_mended_by_rule_is_told_apart_from_what_is_left():
    draft = examine("X:1\nT:Short\nM:4/4\nL:1/4\nK:C\nC D E F | C D | C D E F |]\n", references=[]).draft
    assert (draft.errors, [mend.code for mend in draft.mends]) == (0, ["mended-bar"])


@pytest.mark.parametrize("raw", ["", "I cannot write music.", "X:1\nK:C\n", "X:1\nT:Rest\nM:4/4\nL:1/4\nK:C\nz4 |]\n"])
def test_an_answer_without_notes_has_an_error(raw):
    assert examine(raw, references=[]).draft.errors > 0


def test_half_a_surrogate_pair_does_not_reach_a_file():
    examine("X:1\nT:\ud83d\nK:C\nC|]\n", references=[]).draft.abc.encode("utf-8")


def test_a_copy_of_a_reference_is_noticed():
    tune = two_voice_tune(3, bars=6)
    assert examine(tune, references=[voices_of_abc(tune)]).draft.longest_copy == 24


TUNE, FIGURE = "c2d2 e2c2 | f2e2 d2B2 | c3d e4 | d2G2 c4", "CEGE cGEG | DFAF dAFA | CEGE cGEG | B,DGD CEGE"


def duet(first: str, second: str) -> str:
    return f"X:1\nT:Duet\nM:4/4\nL:1/8\nK:C\nV:1\n{first} |]\nV:2\n{second} |]\n"


def planned(*roles: tuple[Role, Role]) -> Plan:
    """A plan of two voices in as many sections as roles are given, together four bars."""
    size = 4 // len(roles)
    sections = tuple(
        Section(str(n), n * size + 1, (n + 1) * size, "", 90.0, "mf", "none", "open",
                (VoicePart(1, one[0]), VoicePart(2, one[1])))
        for n, one in enumerate(roles)
    )  # fmt: skip
    voices = (PlannedVoice(1, "Flute", 73, 60, 96), PlannedVoice(2, "Piano", 0, 40, 84))
    return Plan("Duet", "", "C", "4/4", 4, voices, sections, ("C", "G", "C", "G C"))


def test_a_figure_that_a_reference_lends_is_no_copy():
    lender = [voices_of_abc(duet("z8 | z8 | z8 | c8", FIGURE))]
    tune = duet(TUNE, FIGURE)
    assert examine(tune, lender).draft.longest_copy == 32
    assert examine(tune, lender, planned(("melody", "figure"))).draft.longest_copy < 8
    assert examine(tune, lender, planned(("melody", "counter"))).draft.longest_copy == 32
    half = planned(("melody", "figure"), ("melody", "counter"))
    assert examine(tune, lender, half).draft.longest_copy == 16


def test_a_melody_is_held_against_every_voice_of_a_reference():
    lower = [voices_of_abc(duet("g8 | a8 | g8 | e8", TUNE))]
    assert examine(duet(TUNE, FIGURE), lower, planned(("melody", "figure"))).draft.longest_copy == 14


def test_a_reference_that_cannot_be_played_has_no_voices():
    assert not any(voices_of_abc("no tune at all"))


def test_the_tree_and_the_score_go_along_with_a_valid_draft():
    examined = examine(two_voice_tune(1), references=[])
    assert (examined.tune.title, examined.score.n_notes) == ("Tune 1", 24)
    assert examine("no tune", references=[]).score is None

"""What the bars of a phrase are made of, in the small language of `form`: by its purpose, the form and the device."""

from __future__ import annotations

import random

from image2music.composers.nano.search.form import Close, Form, peak_at
from image2music.composers.nano.sketch import Purpose


class BarIdeas:
    """Draws the ideas of one form's phrases, one after the other; `form` has what stands before.

    `has_other` tells of a second theme, `grows` that contrasts are made from the first one, `has_drive` that something
    drives to the climax; `second` is the bar of a second thought that comes back. `whole`: one phrase is all there is;
    `is_long`: a chain of episodes, in which the theme has come back `agains` times and comes back at `returns` places.
    """

    rng: random.Random
    form: Form
    has_other: bool
    has_drive: bool
    grows: bool
    second: int
    whole: bool
    is_long: bool
    agains: int
    returns: int

    def climax_returns(self) -> bool:
        """Whether the climax begins with the theme, as no return has come before."""
        return self.form.section_of("return") is None and self.form.name in ("song", "variations", "rondo")

    def ideas(self, purpose: Purpose, length: int, first: int) -> tuple[list[str], Close]:
        """Return the ideas of a phrase's bars, the first of which is `first`, and how it ends."""
        make = {
            "intro": self._intro, "statement": self._statement, "again": self._again, "contrast": self._contrast,
            "drive": self._drive, "return": self._return, "climax": self._climax, "coda": self._coda,
        }[purpose]  # fmt: skip
        ideas, close = make(length, first)
        # A plan that somebody else made may have shorter or longer phrases than the forms here.
        fitted = ideas if len(ideas) <= length else [*ideas[: length - 1], ideas[-1]]
        return [*fitted[:-1], *["mx0+mx1"] * (length - len(fitted)), fitted[-1]], close

    def _intro(self, length: int, first: int) -> tuple[list[str], Close]:
        return ["rest"] * length, "open"

    def _statement(self, length: int, first: int) -> tuple[list[str], Close]:
        self.form.theme = first
        sequence = [f"^{first}", f"^{first + 1}" if length > 5 else "mf0+mf1"]
        middle = self.rng.choice((["m0+mo0", "mf0+mf1"], ["m1+mx0+mi0", "mx0+mf0"], ["mf0+mf1", "mx1+m1"], sequence))
        ideas = ["M0", "M1", *middle][: max(1, length - 1)]
        while len(ideas) < length - 1:
            ideas.append("mx0+mx1+mf1")
        last_of_all = self.whole or (self.form.name == "miniature" and length <= 2)
        close: Close = (
            "imperfect" if self.form.name == "strophes" and length > 3 and self.rng.random() < 0.5 else "half"
        )
        return [*ideas, "cad+mx1" if length > 2 else "cad"][-length:] if length > 1 else ["cad"], (
            "full" if last_of_all else close
        )

    def _again(self, length: int, first: int) -> tuple[list[str], Close]:
        theme, device = self.form.theme, self.form.device
        close: Close = self.rng.choice(("full", "imperfect", "imperfect", "deceptive"))
        if self.form.name in ("song", "variations"):
            close = self.rng.choice(("full", "imperfect"))
        if self.is_long and (self.agains or device != "silence"):
            return self._again_otherwise(length, first), close
        if device == "silence" and length >= 4:
            self.form.silent = (first + length - 1,)
            return [f"={theme}", f"~{theme + 1}", *["mf0+mf1+mx0"] * (length - 3), "rest"], "open"
        if device == "call":
            return [f"={theme}", "m1+mx1", *["m0+mi0+mx0"] * (length - 3), "cad"], close
        if self.form.name == "strophes":
            # The strophe goes on: a second thought, from the theme's second bar, that ends open.
            self.second = first
            ideas = ["m1+mi1+mf1", "mx0+mi0", f"^{first}+mf0", *["mx1+mf1"] * length]
            return [*ideas[: length - 1], "cad"], "half"
        if self.form.name == "binary":
            self.second = first + length - 2
            ideas = [f"={theme}", "m1+mx1+mo1", f"^{first}+mf0", *["mx0+mf1"] * length]
            return [*ideas[: length - 1], "cad"], "full"
        if self.form.name == "variations":
            return [f"~{theme}", f"~{theme + 1}", *["mo0+mx0+mf1"] * (length - 3), "cad"], close
        if self.rng.random() < 0.75:
            return [f"={theme}", f"~{theme + 1}", *["mf0+mx0+mf1"] * (length - 3), "cad"], close
        return ["mf0+mf1", "mf1+mf0+mx0", *["mx0+mx1+md0"] * (length - 3), "cad"], close

    def _again_otherwise(self, length: int, first: int) -> list[str]:
        """Return the theme in a new light, another one each time: as it was, ornamented, inverted, in sequence."""
        theme = self.form.theme
        lights = (
            [f"={theme}", f"~{theme + 1}", "mf0+mx0+mf1"], [f"~{theme}", "mo1+mx1", "mo0+mx0+mf1"],
            ["mi0+mx0", "mi1+m1", "mf0+mi0+mf1"], [f"={theme}", "m1+mo1", f"^{first}+mf0"],
        )  # fmt: skip
        ideas = lights[self.agains % len(lights)]
        self.agains += 1
        return [*[*ideas, *[ideas[-1]] * length][: length - 1], "cad"]

    def _contrast(self, length: int, first: int) -> tuple[list[str], Close]:
        if self.grows and self.form.name not in ("variations", "miniature"):
            return self._growth(length, first), "open"
        if self.form.other is None:
            self.form.other = first
        if self.form.name == "variations":
            theme = self.form.theme
            return [
                f"~{theme}",
                f"~{theme + 1}",
                *["mi0+mx0", "mx1+mi1", "mx0+mf0", "mx1"][: length - 3],
                "cad+mx1",
            ], "open"
        if not self.has_other:
            ideas = ["mi0", "mi1", "mi0+mx0", "mi1+mx1", "mx0+mf0", "mx1"]
            return [*ideas[: length - 1], "mi1+mx1+cad"], "open"
        if first != self.form.other:
            ideas = [f"={self.form.other}", f"~{self.form.other + 1}", "n0+ni0", "nx1", "nx0"]
            return [*ideas[: length - 1], "nx1+cad"], "open"
        if self.form.device == "shrink" and self.has_drive:
            ideas = ["N0", "N1", "n0+n1", "mf0+mf1", "nx0", "mf1"]
            return ideas[:length], "open"
        ideas = ["N0", "N1", "n0+ni0", "nx0+n1", "nx1+n1"]
        if self.form.device == "silence" and not self.form.silent and not self.has_drive and length >= 4:
            self.form.silent = (first + length - 1,)
            return [*ideas[: length - 1], "rest"], "open"
        if self.has_drive:
            return [*ideas[: length - 1], "n1+ni1+nx1"], "open"
        ideas[2] = f"^{first}+mf0"
        return [*ideas[: length - 1], "lead"], "open"

    def _growth(self, length: int, first: int) -> list[str]:
        """Work the theme out: its cell in a new place, in sequence, then in pieces, and a way back."""
        model = self.rng.choice((["mi0", "mf1+mi1"], ["mf1+mf0", "mi0+m1"], ["m1+mx1", "mf0+mi1"], ["mx0+mi0", "m1"]))
        sequence = [f"^{first}", f"^{first + 1}"] if length > 4 else [f"^{first}"]
        model = model[: max(1, length - 2 - (length > 2))][: len(sequence) if length > 4 else 2]
        pieces = ["mf0+mf1+mx0", "mf1+mx1"]
        end = "mf1+mx1+mf0" if self.has_drive else "lead"
        return [*[*model, *sequence, *pieces][: length - 1], end]

    def _drive(self, length: int, first: int) -> tuple[list[str], Close]:
        n = "+n0" if self.has_other else "+mi0"
        if length >= 3 and not self.form.silent and self.form.device in ("shrink", "silence"):
            self.form.silent = (first + length - 1,)
            ideas = ["mf0+mf1", "mf0+mf1+md0", "mg0+mg1", "mg0+mx0"]
            return [*ideas[-(length - 1) :], "rest"], "open"
        ideas = [f"mf0+mf1{n}", f"mf0+mf1{n}", "mx0+mg0+mg1", "mg0+mg1+mx1"]
        if self.rng.random() < 0.6:
            return [*ideas[: length - 1], "lead"], "open"
        return [*ideas[: length - 1], "cad"], "half"

    def _return(self, length: int, first: int) -> tuple[list[str], Close]:
        self.form.back, self.form.payoff = first, first
        self.returns -= 1
        return self._theme_back(
            length, close=self.form.name == "rondo"
        ), "imperfect" if self.form.name == "rondo" else "open"

    def _theme_back(self, length: int, *, close: bool = False) -> list[str]:
        theme, device = self.form.theme, self.form.device
        if self.is_long and self.returns > 0:
            ideas = [f"{self.rng.choice('=~')}{theme}", f"~{theme + 1}", "mo0+mf0+mi1", "mf1+mx1", "mx1"]
        elif device == "augmentation":
            ideas = [">0a", ">0b", ">1a", ">1b", "mx1"]
        elif device == "inversion":
            ideas = [f"={theme}", f"~{theme + 1}", "mi0", "mi1+mx1", "mx1"]
        elif device == "call":
            ideas = [f"={theme}", f"={theme + 1}", "m0+mx0", "mx1+m1", "mx1"]
        else:
            again = "=" if device in ("combine", "canon", "inversion") else self.rng.choice("=~")
            ideas = [f"{again}{theme}", f"~{theme + 1}", "mo0+mf0+mi1", "mf1+mx1", "mx1"]
        return [*ideas[: length - 1], "cad" if close else "mx1+m1+cad"]

    def _climax(self, length: int, first: int) -> tuple[list[str], Close]:
        if length == 1:
            return ["cad"], "full"
        if self.form.back is None:
            self.form.payoff = first
        # The way up breaks the theme into cells; at the top it stands whole, and its second bar leads down.
        peak = peak_at(length)
        up = ["mf0+mf1+mx0", "mf0+mf1", "mx0+mf0"][: max(0, peak)]
        ideas = [*up, "m0+mo0", "m1+mo1+mx1", "mx0+mf1", "mx1+mf0"]
        if self.form.back is None and self.climax_returns() and self.form.name != "miniature":
            self.form.back = first
            ideas = [*self._theme_back(5)[:2], *ideas[2:]]
        elif self.form.name == "verse and refrain" and self.form.other is not None:
            ideas = [f"={self.form.other}", f"~{self.form.other + 1}", "nx0+n0", "nx1+n1", "mf0+mx0", "mx1", "m0"]
        elif self.form.name == "strophes" and self.second and length > 3:
            ideas = [f"~{self.second}", f"^{self.second + 1}+mo0", "m0+mo0", "mx0+mf1", "mx1+mf0", "mf1"]
        body = ideas[: length - 2]
        before = "mx1+mo1+mx0+cad"
        if self.form.name == "binary" and self.second and length > 2:
            before = f"~{self.second}+cad"  # both halves end alike
        return [*body, before, "cad"][-length:], "full"

    def _coda(self, length: int, first: int) -> tuple[list[str], Close]:
        device = self.form.device
        choices: tuple[list[str], ...]
        if device == "inversion":
            choices = (["mi0", "mi1"],)
        elif device == "augmentation" and self.form.back is None:
            self.form.payoff = first
            choices = ([">0a", ">0b"],)
        elif device in ("augmentation", "call"):
            choices = (["m0", "m1"],)
        elif device == "silence":
            choices = (["m0+mo0", "mx1"],)
        else:
            choices = ([">0a", ">0b"], ["m0", "mi1+m1"], ["mo0", "mx1"], [f"~{first - 2}", "m0+mx0"])
        ideas = self.rng.choice(choices)
        if length == 2:
            return ["mx1+m0+cad", "cad"], "full"
        if length == 3:
            return [ideas[0], "cad", "rest"], "full"
        return [*ideas, "cad", "rest"], "full"

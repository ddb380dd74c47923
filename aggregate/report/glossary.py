"""What the terms of the report mean, and links to it from where each is first used."""

import re
from collections.abc import Mapping

from markupsafe import Markup, escape

GLOSSARY: Mapping[str, str] = {
    "AUC": "Area under the ROC curve: the chance that a patient of the class gets a higher probability than a patient of another "
    "class. 0.5 is chance, 1 is perfect.",
    "attention": "Weight between 0 and 1 that a model gives each slice before it adds the slices up; the weights of a patient sum to 1.",
    "bag": "All slices of one patient, as rows of numbers from the encoder. The patient has one label, the slices have none.",
    "balanced accuracy": "Mean over the classes of the share of their patients who are called right. Chance is 1 divided by the number of classes.",
    "baseline": "A simple rule that sees no image, such as the size of the tumour. A model that is not better has not been "
    "shown to add anything to it.",
    "Brier": "Mean squared distance of the probabilities and the truth (0 for the wrong classes, 1 for the right one), summed over the "
    "classes. 0 is perfect; lower is better.",
    "C-index": "Chance that of two patients the one who has the event earlier was given the higher risk. 0.5 is chance, 1 is perfect. "
    "Uno's weighs the patients by how likely they were to be still observed, Harrell's does not.",
    "calibration": "Agreement of predicted probabilities with what is observed: of the patients with a probability near 0.7, about 70 % "
    "should have the class.",
    "confidence interval": "Range of values that the data are compatible with. Of many such ranges, each from another cohort, the stated "
    "share would hold the true value. CI in short.",
    "design effect": "How much more a result varies than if every patient had been predicted by a model of its own: the models of the "
    "folds share training patients, and each is trained on others' test patients.",
    "encoder": "The frozen network that turns a slice into numbers. It was trained on other images and is not changed here.",
    "fold": "One division of the patients into training, tune and test patients. Over the folds of a repeat every patient is tested once.",
    "Holm": "Adjustment of p-values for the number of comparisons: the smallest is multiplied by their number, the next by one less.",
    "horizon": "Time at which survival is predicted and models are measured, chosen before the results.",
    "Kaplan-Meier": "Share of patients without the event by time, where some were observed for a while only (censored).",
    "kappa": "Agreement beyond chance of the predicted and the reference class: 0 is chance, 1 is perfect.",
    "log-rank": "Test whether the curves of groups of patients differ anywhere.",
    "macro": "Mean over the classes, each of which counts the same however many patients it has.",
    "Nadeau-Bengio": "t-test of the differences between two models over the folds, with a variance that is enlarged because the folds share "
    "training patients.",
    "net benefit": "True positives minus false positives per patient, a false one weighed by the threshold at which one would act.",
    "out-of-fold": "Of models that were trained without this patient.",
    "permutation control": "The same pipeline on labels that were dealt out anew by chance. It must not find anything.",
    "repeat": "The cross-validation again, with other folds.",
    "resample": "A cohort drawn from the patients of this one (bootstrap). How a number varies among many of them is its uncertainty.",
    "sensitivity": "Share of the patients of a class who are called so.",
    "Shapley": "A phase's share of the performance above chance, averaged over all orders in which the phases could be added.",
    "Spearman": "Rank correlation: 1 where two rankings agree, 0 where they have nothing to do with each other, -1 where one is the "
    "other reversed.",
    "specificity": "Share of the patients of the other classes who are not called so.",
    "tune": "Patients of the training part who are kept for choices: when to stop, which parameters, which threshold. They are not tested in that fold.",
}  # fmt: skip
"""Term -> meaning."""


class Glossary:
    """Links each term where it is first used, in the order in which the texts of the page are given."""

    def __init__(self) -> None:
        self.used: dict[str, str] = {}

    def linked(self, text: object) -> Markup:
        """Escape a text and link the terms in it that no earlier text had."""
        shown = str(escape(text))
        for term, meaning in GLOSSARY.items():
            if term not in self.used:
                linked, n = _pattern(term).subn(_link(term), shown, count=1)
                if n:
                    self.used[term], shown = meaning, linked
        return Markup(shown)


def anchor(term: str) -> str:
    """Return the identifier of a term's entry."""
    return f"term-{term.lower().replace(' ', '-')}"


def _link(term: str) -> str:
    return rf'<a class="term" href="#{anchor(term)}">\g<0></a>'


def _pattern(term: str) -> re.Pattern[str]:
    """Match the term as a word, in the plural too, outside of links that are there."""
    case = 0 if term[0].isupper() else re.IGNORECASE
    return re.compile(rf"(?<![\w@#-]){re.escape(term)}s?\b(?![\w-])(?![^<]*</a>)(?![^<]*>)", case)

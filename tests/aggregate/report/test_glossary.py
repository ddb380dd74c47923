"""Terms are linked where they are first used, once, and nothing else is."""

from aggregate.report.glossary import GLOSSARY, Glossary, anchor


def test_a_term_is_linked_where_it_is_first_used_and_only_there():
    glossary = Glossary()
    assert glossary.linked("The AUC of a fold") == (
        'The <a class="term" href="#term-auc">AUC</a> of a <a class="term" href="#term-fold">fold</a>'
    )
    assert glossary.linked("another AUC") == "another AUC"
    assert set(glossary.used) == {"AUC", "fold"}


def test_the_plural_is_the_term_and_a_part_of_a_word_is_not():
    glossary = Glossary()
    assert ">folds</a>" in glossary.linked("over the folds")
    assert (
        glossary.linked("scaffold, tune_score, out-of-fold-like") == "scaffold, tune_score, out-of-fold-like"
    )


def test_text_is_escaped_and_no_link_lies_in_a_link():
    glossary = Glossary()
    assert glossary.linked("<b>") == "&lt;b&gt;"
    linked = glossary.linked("out-of-fold attention, AUC")
    assert linked.count("<a ") == linked.count("</a>") == 3


def test_every_term_links_itself():
    for term in GLOSSARY:
        assert f'href="#{anchor(term)}"' in Glossary().linked(f"the {term} of it")

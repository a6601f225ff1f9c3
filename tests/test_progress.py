"""Progress bars."""

from tf_metacompress.progress import progress


def test_items_pass_and_nothing_is_shown_without_a_terminal(capsys):
    assert list(progress(range(3), description="adding")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_a_forced_bar_shows_words_and_counts_on_stderr(capsys):
    assert list(progress(iter("ab"), total=2, description="adding", force=True)) == ["a", "b"]
    out, err = capsys.readouterr()
    assert out == ""
    assert "adding" in err
    assert "2/2" in err


def test_quiet_wins_over_force(capsys):
    assert list(progress(range(2), quiet=True, force=True)) == [0, 1]
    assert capsys.readouterr().err == ""

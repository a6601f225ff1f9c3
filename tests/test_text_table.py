"""Columns of text."""

from hypothesis import given
from hypothesis import strategies as st

from tf_metacompress.text_table import lay_out

CELLS = st.lists(
    st.tuples(*[st.text("abc123", min_size=1, max_size=8)] * 3), min_size=1, max_size=6
)


@given(CELLS, st.integers(0, 3))
def test_columns_keep_their_cells_and_line_up(rows, num_left):
    header, *body = rows
    lines = lay_out(header, body, num_left)
    assert set(lines[1]) == {"-"} and len(lines[1]) == max(map(len, lines))
    texts = [lines[0], *lines[2:]]
    assert [tuple(line.split()) for line in texts] == rows
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    start = 0
    for place, width in enumerate(widths):
        for line, row in zip(texts, rows, strict=True):
            cell = line[start : start + width]
            aligned = cell.lstrip() if place >= num_left else cell.rstrip()
            assert aligned == row[place]
        start += width + 2

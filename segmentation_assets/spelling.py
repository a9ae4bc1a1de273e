"""Spellings of one value: which text of the source is the same id, and which the same code.

An id is trimmed and nothing else: C1 and c1 may be two customers. A code (status, category) is folded too. The SQL is
in macros/text/spelling.sql: it holds the same two tables, and gives the same on both engines.
"""

# What nobody sees at the end of a text: Unicode's blanks (Z*), controls (Cc) and format characters (Cf: zero-width
# ones, byte order mark, soft hyphen, direction marks), and letters that are drawn as nothing (fillers, blank braille).
_UNSEEN = (
    (0, 32), (127, 160), (173, 173), (1536, 1541), (1564, 1564), (1757, 1757), (1807, 1807), (2192, 2193), (2274, 2274),
    (4447, 4448), (5760, 5760), (6158, 6158), (8192, 8207), (8232, 8239), (8287, 8292), (8294, 8303), (10240, 10240),
    (12288, 12288), (12644, 12644), (65279, 65279), (65440, 65440), (65529, 65531), (69821, 69821), (69837, 69837),
    (78896, 78911), (113824, 113827), (119155, 119162), (917505, 917505), (917536, 917631),
)  # fmt: skip
UNSEEN = "".join(chr(code) for first, last in _UNSEEN for code in range(first, last + 1))

# Combining mark -> small letters and what they are with it: the letters of Europe's languages in Latin script. A table,
# as Snowflake has no normal forms (DuckDB's compose letters of other scripts too); a dot on an i is no other letter, or
# the Turkish capital would make one.
COMPOSED = {
    768: ("aeinouwy", "àèìǹòùẁỳ"),
    769: ("aceilnorsuwyz", "áćéíĺńóŕśúẃýź"),
    770: ("aceghijosuwyz", "âĉêĝĥîĵôŝûŵŷẑ"),
    771: ("aeinouy", "ãẽĩñõũỹ"),
    772: ("aeiouy", "āēīōūȳ"),
    774: ("aegiou", "ăĕğĭŏŭ"),
    775: ("cegiz", "ċėġiż"),
    776: ("aeiouwy", "äëïöüẅÿ"),
    778: ("auwy", "åůẘẙ"),
    779: ("ou", "őű"),
    780: ("acdeilnorstuz", "ǎčďěǐľňǒřšťǔž"),
    806: ("st", "șț"),
    807: ("cgklnrst", "çģķļņŗşţ"),
    808: ("aeiou", "ąęįǫų"),
}
_MARKED = {
    letter + chr(mark): one
    for mark, (plain, marked) in COMPOSED.items()
    for letter, one in zip(plain, marked, strict=True)
}


def trimmed(text: str) -> str:
    """Without what nobody sees at either end."""
    return text.strip(UNSEEN)


def code(text: str) -> str:
    """The same for two spellings of one code: trimmed, in small letters, accents in one form, ß as ss, one dotted i."""
    folded = trimmed(text).replace("İ", "i").lower()
    for letter, one in (("ı", "i"), ("ß", "ss"), ("ς", "σ"), *_MARKED.items()):
        folded = folded.replace(letter, one)
    return folded


def trimmed_sql(expression: str) -> str:
    """`trimmed` of a SQL expression, on either engine."""
    ends = " and ".join(f"ascii({end}({expression}, 1)) between 33 and 126" for end in ("left", "right"))
    return f"case when {ends} then {expression} else trim(cast({expression} as varchar), '{UNSEEN[1:]}' || chr(0)) end"

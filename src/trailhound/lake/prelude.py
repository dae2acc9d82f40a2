"""The SQL functions that lowered predicates call, as macros of the connection.

Each has the meaning of a function of `engine.values` or `engine.tests`; the tests hold the two
against each other. An argument that a macro needs more than once is bound by a lambda over a
list of one: the text of a macro's argument is put in wherever its name stands.
"""

from trailhound.lake.quoting import literal

_BLANKS = literal("".join(c for c in map(chr, range(1, 0x3001)) if c.isspace()))
"""What `str.strip` takes off (Python, `str.isspace`)."""
_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = literal(rf"{_BYTE}(\.{_BYTE}){{3}}")
_DIGITS = "[0-9]+(_[0-9]+)*"
_DECIMAL = literal(rf"[+-]?({_DIGITS}(\.({_DIGITS})?)?|\.{_DIGITS})([eE][+-]?{_DIGITS})?")
"""Numbers as `int` and `float` read them from a text (Python, "float", grammar `floatvalue`)."""

PRELUDE = f"""
-- A text without the blanks around it.
CREATE OR REPLACE MACRO th_strip(t) AS trim(t, {_BLANKS});

-- Nodes with lists entered at every element.
CREATE OR REPLACE MACRO th_spread(l) AS flatten(list_transform(l, lambda x:
  CASE WHEN json_type(x) = 'ARRAY' THEN json_extract(x, '$[*]') ELSE [x] END));

-- What stands at a pointer in each of the nodes.
CREATE OR REPLACE MACRO th_at(l, p) AS list_filter(
  list_transform(l, lambda x: json_extract(x, p)), lambda x: x IS NOT NULL);

-- Every text, number and boolean of a document, as text.
CREATE OR REPLACE MACRO th_leaves(d) AS list_transform(
  list_filter([d::JSON] || json_extract(d, '$..*'), lambda x:
    json_type(x) NOT IN ('OBJECT', 'ARRAY', 'NULL')),
  lambda x: json_extract_string(x, '$'));

-- A text as the number it writes in decimal; NULL where it writes none.
CREATE OR REPLACE MACRO th_number_in(t) AS CASE
  WHEN length(t) > 400 THEN NULL
  WHEN regexp_full_match(t, {_DECIMAL}) THEN TRY_CAST(replace(t, '_', '') AS DOUBLE)
  WHEN regexp_full_match(t, '(?i)[+-]?inf(inity)?')
    THEN CASE WHEN starts_with(t, '-') THEN '-inf'::DOUBLE ELSE 'inf'::DOUBLE END
END;

CREATE OR REPLACE MACRO th_groups(t) AS
  CASE WHEN t = '' THEN []::VARCHAR[] ELSE string_split(t, ':') END;

CREATE OR REPLACE MACRO th_in_full(l) AS
  array_to_string(list_transform(l, lambda g: lpad(g, 4, '0')), '');

-- The 32 hex digits of an IPv6 address. The groups before and behind `::` are read apart.
CREATE OR REPLACE MACRO th_ipv6(t) AS
  list_transform([string_split(t, '::')], lambda s:
    list_transform([{{'h': th_groups(s[1]), 'r': th_groups(coalesce(s[2], ''))}}], lambda p: CASE
      WHEN len(list_filter(p.h || p.r, lambda g:
        NOT regexp_full_match(g, '[0-9a-f]{{1,4}}'))) > 0 THEN NULL
      WHEN len(s) = 1 AND len(p.h) = 8 OR len(s) = 2 AND len(p.h) + len(p.r) <= 7 THEN
        th_in_full(p.h) || repeat('0000', 8 - len(p.h) - len(p.r)) || th_in_full(p.r)
    END)[1])[1];

-- The 8 hex digits of an IPv4 address.
CREATE OR REPLACE MACRO th_ipv4(t) AS list_transform([string_split(t, '.')], lambda s:
  printf('%02x%02x%02x%02x', s[1]::INTEGER, s[2]::INTEGER, s[3]::INTEGER, s[4]::INTEGER))[1];

-- An IPv6 address whose last groups may be written as IPv4, in groups throughout.
CREATE OR REPLACE MACRO th_grouped(t) AS
  list_transform([{{'all': t, 'tail': regexp_extract(t, '[^:]*$')}}], lambda p: CASE
    WHEN regexp_full_match(p.tail, {_IPV4}) THEN list_transform([th_ipv4(p.tail)], lambda h:
      left(p.all, length(p.all) - length(p.tail)) || left(h, 4) || ':' || right(h, 4))[1]
    ELSE p.all
  END)[1];

-- An address as hex digits: 8 for IPv4, which may be mapped into IPv6, 32 for IPv6.
CREATE OR REPLACE MACRO th_address(t) AS
  list_transform([trim(th_strip(t), '[]')], lambda a: CASE
    WHEN regexp_full_match(a, {_IPV4}) THEN th_ipv4(a)
    WHEN contains(a, '/') OR NOT contains(a, ':') THEN NULL
    WHEN contains(a, '%') AND NOT regexp_full_match(a, '(?s)[^%]*%[^%]+') THEN NULL
    ELSE list_transform([th_ipv6(th_grouped(lower(split_part(a, '%', 1))))], lambda h:
      CASE WHEN starts_with(h, '00000000000000000000ffff') THEN substr(h, 25) ELSE h END)[1]
  END)[1];
"""
"""Statements that make the macros, for all cursors of a connection."""

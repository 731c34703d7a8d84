"""Writes golden.json: what jinja2, set up as transformers sets it up, makes of
small templates.

    python internal/jinja/testdata/golden.py
"""
import json, os, re
from transformers.utils.chat_template_utils import _compile_jinja_template

VARS = {
    "s": "Grüße, Welt", "t": "  viel Raum \n", "e": "", "n": 7, "m": -3, "f": 2.5, "b": True, "z": None,
    "l": [3, 1, 2], "w": ["eins", "Zwei", "drei", "eins"], "d": {"b": 1, "a": "x", "c": [1, {"k": None}]},
    "big": [18446744073709551615, -9223372036854775809], "p": [{"n": "Ute", "a": 30, "x": {"y": 1}}, {"n": "bob", "a": 5}, {"n": "Cem", "a": 30}],
    "q": "it's \"quoted\" \\ <&> \t ü € 😀 \x07", "lines": "a\nb\n\nc", "html": "<b>&amp;</b>",
}

EXPRS = r"""
s
s|length
s[0]
s[-1]
s[2:5]
s[::-1]
s[10:2:-3]
s[-4:]
s[:100]
s[100]
s[100:]
l[0]
l[-1]
l[1:]
l[::2]
l[::-1]
l[5]
l[True]
d.a
d['a']
d.nope
d['nope']
d.items()|list
d.keys()|list
d.values()|list
d.items()
d.keys()
d.get('a')
d.get('q')
d.get('q', 'zz')
d
l
(1, 2)
(1,)
()
[]
{}
{'a': 1, 'b': [1, 2.0, none, true, 'x']}
1 + 2 * 3
(1 + 2) * 3
2 ** 3 ** 2
-2 ** 2
7 // 2
-7 // 2
7 // -2
-7 % 3
7 % -3
7.5 // 2
-7.5 % 2
7 / 2
8 / 2
1e3
1.5e-7
1e16
123456789012345678
0.1 + 0.2
1_000
0x1f
0b101
0o17
10 - 3 - 2
2 * 3 % 4
1 ~ 2
s ~ n ~ f ~ b ~ z
'a' 'b' "c"
'a' ~ 'b' 'c'
'x' * 3
3 * 'x'
[1, 2] * 2
[1] + [2, 3]
(1,) + (2,)
'a' + 'b'
'a' < 'b'
'Z' < 'a'
1 < 2 < 3
1 < 3 < 2
1 == 1.0
1 == true
'1' == 1
none == false
[1, 2] == [1, 2]
[1, 2] == (1, 2)
[1, 2] < [1, 3]
{'a': 1} == {'a': 1.0}
'a' in 'abc'
'x' not in 'abc'
1 in l
'b' in d
9 not in l
not true
not not 3
not 1 == 2
true and false or true
1 and 2
0 or 'x'
'' or none
none and 1
1 if true else 2
1 if false else 2
1 if false
'a' if n > 5 else 'b' if n > 3 else 'c'
n if n is defined else 0
nope
nope is defined
nope is undefined
nope|default('dd')
nope|d('dd')
e|default('dd')
e|default('dd', true)
z|default('dd')
z|default('dd', boolean=true)
nope|length
nope|upper
nope|list
nope ~ 'x'
nope == nope
nope == 1
nope or 'x'
nope.x
nope['x']
nope + 1
nope()
d.nope.x
z.x
z is none
n is number
n is integer
f is float
f is number
b is boolean
b is number
b is integer
s is string
d is mapping
l is iterable
s is iterable
d is iterable
n is iterable
l is sequence
d is sequence
s is sequence
d.items() is sequence
range(3) is sequence
n is odd
n is even
n is divisibleby 7
n is divisibleby(3)
n is not even
s is not none
n is eq 7
n is equalto 7
n is ne 7
n is lt 8
n is gt 8
n is ge 7
n is in [1, 7]
'eins' is in w
b is true
b is false
z is sameas none
1 is sameas true
'abc' is lower
'ABC' is upper
'A1' is upper
'' is lower
s is callable
range is callable
'upper' is filter
'odd' is test
n is defined and n is odd
t|trim
t.strip()
t.lstrip()
t.rstrip()
'xxaxx'.strip('x')
'xyaxy'.lstrip('yx')
'xxaxx'|trim('x')
s|upper
s|lower
'straße'|upper
'straße'.upper()
'ÀÉ'|lower
s|title
'hello wOrld-foo (bar) it\'s'|title
'hello wOrld-foo (bar) it\'s'.title()
'hELLO wORLD'|capitalize
'hELLO'.capitalize()
'aBc'.swapcase()
w|join(', ')
w|join
[1, 2, none]|join('-')
p|join(', ', attribute='n')
', '.join(w)
s|first
s|last
l|first
l|last
[]|first
[]|first is defined
w|length
d|length
w|count
d|list
s|list
d|items|list
nope|items|list
d|dictsort
{'B': 1, 'a': 3, 'C': 2}|dictsort
{'B': 1, 'a': 3, 'C': 2}|dictsort(true)
{'B': 1, 'a': 3, 'C': 2}|dictsort(by='value')
{'B': 1, 'a': 3, 'C': 2}|dictsort(reverse=true)
p|selectattr('a', 'equalto', 30)|map(attribute='n')|list
p|selectattr('a', '==', 30)|list|length
p|selectattr('a', 'gt', 10)|map(attribute='n')|join(' ')
p|rejectattr('a', 'equalto', 30)|map(attribute='n')|list
p|selectattr('x')|map(attribute='n')|list
p|selectattr('x', 'defined')|map(attribute='x.y')|list
p|rejectattr('x', 'defined')|map(attribute='n')|list
p|map(attribute='x.y', default=0)|list
w|map('upper')|list
w|map('replace', 'e', 'E')|list
[1, 2, 3, 4]|select('odd')|list
[1, 2, 3, 4]|reject('odd')|list
[0, 1, '', 'a', none]|select|list
[1, 2, 3, 4]|select('gt', 2)|list
w|map('upper')
w|select
s|replace('e', 'E')
s|replace('e', 'E', 1)
s.replace('e', 'E')
s.replace('e', 'E', 1)
'aaa'.replace('', '-')
'aaa'|replace('a', 'bb')
s|string|length
n|string
'42'|int
'42.9'|int
'x'|int
'x'|int(5)
'ff'|int(base=16)
'0x1A'|int(0, 16)
f|int
'2.5'|float
'x'|float
'x'|float(1.5)
n|float
m|abs
f|abs
2.5|round
3.5|round
2.567|round(2)
2.4|round(method='ceil')
2.6|round(method='floor')
7|round
7|round(1)
1234|round(-2)
w|unique|list
w|sort
w|sort(true)
w|sort(case_sensitive=true)
l|sort
l|sort(reverse=true)
p|sort(attribute='n')|map(attribute='n')|list
p|sort(attribute='a,n')|map(attribute='n')|list
l|reverse|list
s|reverse
l|sum
p|sum(attribute='a')
p|sum(attribute='a', start=10)
l|max
l|min
w|max
p|max(attribute='a')
[]|max
lines|indent
lines|indent(2)
lines|indent(2, true)
lines|indent(2, first=true, blank=true)
lines|indent('> ')
lines.splitlines()
lines.splitlines(true)
lines.split('\n')
' a  b c '.split()
' a  b c '.split(' ')
'a,b,c'.split(',', 1)
'a,b,c'.rsplit(',', 1)
' a b  c '.split(none, 1)
' a b  c '.rsplit(none, 1)
'a</think>b</think>c'.split('</think>')[-1]
'a</think>b'.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n')
'abc'.startswith('ab')
'abc'.endswith('bc')
'abc'.startswith(('x', 'a'))
'abc'.find('c')
'abc'.find('z')
'üäö'.find('ö')
'abcabc'.rfind('b')
'abcabc'.count('b')
'abc'.index('b')
'abc'.index('z')
'12'.isdigit()
'ab'.isalpha()
'a1'.isalnum()
' '.isspace()
'a'.upper().lower().title()
'7'.zfill(3)
'-7'.zfill(4)
'ab'.center(6)
'ab'.center(5)
'abc'.center(6)
'ab'.ljust(4, '.')
'ab'.rjust(4, '.')
'ab'|center(7)
'a-b-c'.partition('-')
'a-b-c'.rpartition('-')
'a-b'.partition('x')
'prefix-x'.removeprefix('prefix-')
'x.txt'.removesuffix('.txt')
'{} and {}'.format(1, 'x')
'{1} {0} {k} {{}}'.format('a', 'b', k=3)
'%s is %d' % ('x', 5)
'%s' % s
'%s' % none
'%5d|%-5d|%05d' % (3, 3, 3)
'%.2f' % f
'%x %X %o' % (255, 255, 8)
'%5s|%-5s|' % ('a', 'b')
'%.2s' % 'abc'
'%r' % 'a'
'%(a)s-%(b)s' % d
'100%%' % ()
'%s' % [1, 2]
'%s %s'|format('a', 'b')
'%e' % 12345.678
'%g' % 0.0001
d|tojson
d|tojson(indent=2)
d|tojson(indent=4)
l|tojson
[]|tojson(indent=2)
{}|tojson(indent=2)
[[], {}, [1]]|tojson(indent=2)
s|tojson
s|tojson(ensure_ascii=true)
q|tojson
q|tojson(ensure_ascii=true)
q
[q]
[s, "it's", 'say "x"']
'</script>'|tojson
none|tojson
true|tojson
1.0|tojson
1e20|tojson
0.00001|tojson
d|tojson(sort_keys=true)
d|tojson(separators=(',', ':'))
d|tojson(indent=2, separators=(',', ' : '))
{1: 2, true: 3, none: 4, 1.5: 5}|tojson
(1, 2)|tojson
range(3)|list|tojson
range(3)|tojson
nope|tojson
html|escape
html|e
html|safe
range(5)|list
range(2, 8, 3)|list
range(5, 0, -2)|list
range(3)
range(3)[1]
range(10)[2:4]|list
range(0)|list
range(-3)|list
dict(a=1, b=2)
dict([('a', 1)])
dict(d, z=9).z
namespace(a=1).a
namespace(a=1).b
'a b c'|wordcount
'a long sentence with words'|truncate(10)
'a long sentence with words'|truncate(10, true)
'a long sentence with words'|truncate(10, true, '…', 0)
[1, 2, 3, 4, 5]|batch(2)|list
[1, 2, 3, 4, 5]|batch(2, 0)|list
p|groupby('a')|list
[1, 2, 3]|last
l|length > 2
-n|abs
n|string ~ '!'
(n|string)[0]
n if n else m
[n, m]|max if n else 0
l.index(1)
w.count('eins')
l.append(4)
d.update({'x': 1})
d.pop('a')
s.__class__
[1, 'a']|sort
1 + 'a'
'a' + 1
1 < 'a'
1 / 0
1 // 0
1 % 0
none|length
none + 1
5|list
n()
n[0]
z[0]
l.x
{[1]: 2}
raise_exception('nein')
'abc'|nofilter
n is notest
1 in 5
1 in 'abc'
none in d
9223372036854775807
loop
true
True
False
None
none
'tab\tnew\\n\'q\' \x41 \u00fc'
"dq \"x\" 'y'"
'ßŞ' ~ 'é'
'%s' % (1, 2)
'%s %s' % 'a'
'%d' % 'a'
"a" "b" ~ "c" "d"
[1,2,3,]
{'a':1,}
(1,2,)
d.c[1].k
d.c[1]['k'] is none
p[0].x.y
p[-1]['n']
l[n]
l['0']
s.nope
'a'.join(['x', 'y'])
'a'.join([1])
w[1:]|join('/')
w[:-1]|join('/')
(w|join(' ')).split(' ')|length
s|attr('upper')
d|attr('a')
'x'.encode
""".strip("\n").split("\n")

TEMPLATES = [
    "{% if n > 5 %}big{% elif n > 3 %}mid{% else %}small{% endif %}",
    "{% for x in l %}{{ x }},{% endfor %}",
    "{% for x in [] %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in l if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% endfor %}",
    "{% for x in l if x > 9 %}{{ x }}{% else %}leer{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in d|dictsort %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in d %}{{ k }}{% endfor %}",
    "{% for c in s %}{{ c }}.{% endfor %}",
    "{% for x in nope %}{{ x }}{% else %}leer{% endfor %}",
    "{% for x in z %}{{ x }}{% endfor %}",
    "{% for x in n %}{{ x }}{% endfor %}",
    "{% for x in w %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}|{% endfor %}",
    "{% for x in w %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}",
    "{% for x in w %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}",
    "{% for x in w %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for x in [1,1,2,2,1] %}{{ loop.changed(x) }} {% endfor %}",
    "{% for x in l %}{% for y in l %}{{ loop.index }}{{ loop.depth }}{% endfor %}{{ loop.index }};{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in [1,2] %}{% for y in [1,2,3] %}{% if y == 2 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{% endfor %}",
    "{% set x = 1 %}{% for i in l %}{{ x }}{% set x = i %}{{ x }}{% endfor %}{{ x }}",
    "{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% set ns = namespace(x=0, found=false) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns.found }}",
    "{% set ns = namespace() %}{% set ns.a = 1 %}{{ ns.a }}{{ ns.b is defined }}",
    "{% set q.a = 1 %}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set a, b = [1, 2, 3] %}",
    "{% set (a, b) = (b, n) %}{{ a }}{{ b }}",
    "{% set x %}Block {{ n }}{% endset %}[{{ x }}]{{ x|length }}",
    "{% set x | upper %}block{% endset %}{{ x }}",
    "{% set x | upper | replace('B', 'x') %}block{% endset %}{{ x }}",
    "{% set x = 1, 2 %}{{ x }}",
    "{% macro m(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}|{{ m(1, 3) }}|{{ m(1, c='z') }}|{{ m(a=5, b=6) }}|{{ m() }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, k=2) }}",
    "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, k=4) }}",
    "{% macro m(a, b=a) %}{{ b }}{% endmacro %}{{ m(3) }}",
    "{% macro fac(n) %}{% if n <= 1 %}1{% else %}{{ n * fac(n - 1)|int }}{% endif %}{% endmacro %}{{ fac(6) }}",
    "{% macro m() %}{{ x }}{% endmacro %}{% set x = 4 %}{{ m() }}",
    "{% macro m() %}{% set x = 9 %}{{ x }}{% endmacro %}{% set x = 4 %}{{ m() }}{{ x }}",
    "{% for i in l %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% macro m() %}  <{{ caller() }}>  {% endmacro %}{% call m() %}in{{ n }}{% endcall %}",
    "{% macro m() %}{{ caller(1) }}{{ caller(2) }}{% endmacro %}{% call(x) m() %}[{{ x }}]{% endcall %}",
    "{% macro m(a) %}{{ a|upper }}{% endmacro %}{{ m('x') ~ m('y') }}{{ m('ab')|length }}",
    "{% set r = [] %}{% for i in l %}{% set r = r + [i] %}{% endfor %}{{ r }}",
    "{% filter upper %}ab{{ s }}{% endfilter %}",
    "{% filter replace('a', 'b')|upper %}aaa{% endfilter %}",
    "{% with a=1, b=n %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}",
    "{% with %}{% set q2 = 1 %}{{ q2 }}{% endwith %}{{ q2 is defined }}",
    "{% raw %}{{ not }} {% this %}{% endraw %}!",
    "{%- raw -%}  {{ x }}  {%- endraw -%}  !",
    "a {% raw %}\n  x\n  {% endraw %}\nb",
    "a{# comment #}b",
    "a\n  {# comment #}\nb",
    "a  {#- c -#}  b",
    "a\n{% if true %}\nb\n{% endif %}\nc\n",
    "a\n   {% if true %}\n   b\n   {% endif %}\nc\n\n",
    "a\n   {%- if true -%}\n   b\n   {%- endif -%}\nc",
    "a\n   {%+ if true %}\n   b\n   {%+ endif %}\nc",
    "a {% if true +%}\nb{% endif %}\nc",
    "  {{ n }}  \n  {{- n -}}  \n x",
    "x {{ n }}\n{{ n }}\n",
    "{% if true %}  {% if true %}  x{% endif %}{% endif %}",
    "  {% if true %}x{% endif %}  y",
    "\t {% set x = 1 %}\n\t{{ x }}",
    "\n\n{% if true %}\n\nx{% endif %}",
    "a\r\nb{% if true %}\r\nc{% endif %}\r\nd",
    "{{ 'a\nb' }}",
    "{{ '}}' }}{{ '{%' }}{{ {'a': {'b': 1}}.a.b }}",
    "{{ {'a': {}} }}",
    "{{-1}}{{- 1 -}}",
    "{{ 1 -}} x",
    "{ {{ 1 }} } {x} {",
    "{% if not n %}a{% else %}b{% endif %}",
    "{% if n in l or n is odd and not z %}ja{% endif %}",
    "{% if (n > 3) != (m > 3) %}ja{% endif %}",
    "{% generation %}x{{ n }}{% endgeneration %}",
    "a{% generation %}{% set v = 2 %}{{ v }}{% endgeneration %}{{ v is defined }}",
    "{% for x in l %}{%- generation -%} {{ x }} {%- endgeneration -%}{% endfor %}",
    "{% if n %}{{ raise_exception('Grund: ' ~ n) }}{% endif %}",
    "{% print n, s %}",
    "{{ n, s }}",
    "{% set g = w|map('upper') %}{{ g|list }}{{ g|list }}",
    "{% for x in p|map(attribute='n') %}{{ x }}{{ loop.last }}{% endfor %}",
    "{% for i in range(l|length - 1, -1, -1) %}{{ l[i] }}{% endfor %}",
    "{% for x in l[::-1] %}{{ x }}{% endfor %}",
    "{% for a, b in [[1, 2], [3, 4]] %}{{ a + b }} {% endfor %}",
    "{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for p2 in p recursive %}{% endfor %}",
    "{% include 'x' %}", "{% extends 'x' %}", "{% import 'x' as y %}", "{% do 1 %}", "{% unknown %}",
    "{% block a %}x{% endblock %}",
    "{{ 'unterminated }}", "{{ 1 + }}", "{% if %}{% endif %}", "{% for x in %}{% endfor %}", "{% endif %}", "{% if true %}", "{# x",
    "{{ ( }}", "{{ ) }}", "{{ [1, 2 }}", "{{ a b }}", "{{ 1 2 }}", "{{ .x }}", "{{ x. }}", "{% set 1 = 2 %}", "{% set true = 2 %}",
    "{{ m(a=1, 2) }}", "{{ m(*l) }}", "{% break %}", "{% for x in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "{% macro m(a=1, b) %}{% endmacro %}", "{% raw %}x", "{{ }}", "{% %}", "{{ $ }}", "{{ a is }}", "{{ a | }}",
    "{% macro f(a, b) %}{{ a }}-{{ b }}{% endmacro %}{{ f(*[1, 2]) }}{{ f(**{'a': 3, 'b': 4}) }}{{ f(1, *[2]) }}",
    "{% set x = namespace(l=[]) %}{% for i in l %}{% set x.l = x.l + [i * 2] %}{% endfor %}{{ x.l|join(',') }}",
    "{% set _x = 3 %}{{ _x }}",
    "{{ namespace(_x=1) }}",
    "{% if z is none and n is defined %}ok{% endif %}",
    "{% if s is string and s is not mapping %}ok{% endif %}",
    "{{ 'ja' if s is string else 'nein' }}",
    "{{ ('a' if true) ~ ('b' if false) }}",
    "{{ dict(a=1)|tojson }}{{ {'z': 1, 'a': 2}|tojson }}",
    "{% for x in l -%}   {{ x }}   {%- endfor %}",
    "{% for i in range(3) %}{% if not loop.last %}{{ i }}, {% else %}{{ i }}{% endif %}{% endfor %}",
    "{%if n%}x{%endif%}{{n}}",
    "{% set x = n if n > 100 else m %}{{ x }}",
    "{{ d['c'][1:] }}{{ d.c[:1] }}",
    "{{ [1,2,3][1:][0] }}{{ 'abc'[1:][0] }}",
    "{{ ('a', 'b')[1] }}{{ {'k': 'v'}['k'] }}{{ 'x'.upper()[0] }}",
    "{% set content = s.split(',')[1].strip() if ',' in s else s %}{{ content }}",
    "{%- for x in l %}\n    {%- if loop.first %}\n        {{- 'first' }}\n    {%- endif %}\n    {{- x }}\n{%- endfor %}",
    "{{ strftime_now('%Y')|length }}",
    "{{ n.__class__ }}", "{{ ''.__class__.__mro__ }}", "{{ range(100000000) }}", "{{ [].__len__() }}",
]


# Filters and tests on none, undefined, zero and false.
FALSY = [f"{v}|{f}" for v in ("z", "nope", "0", "false", "''", "[]", "{}") for f in (
    "map('upper')|list", "map(attribute='a')|list", "select|list", "select('odd')|list", "reject|list", "selectattr('a')|list",
    "rejectattr('a', 'eq', 1)|list", "list", "join(',')", "length", "first", "last", "sum", "sort", "unique|list", "min", "max",
    "batch(2)|list", "slice(2)|list", "groupby('a')|list", "reverse|list", "items|list", "dictsort", "string", "upper", "trim",
    "title", "capitalize", "replace('a', 'b')", "default('d')", "default('d', true)", "int", "float", "int(7)", "round", "abs",
    "tojson", "tojson(indent=2)", "indent", "truncate(3)", "wordcount", "safe", "escape", "urlencode", "striptags", "center(5)",
    "attr('a')", "xmlattr", "filesizeformat", "format(1)")]
FALSY += [f"{v} is {t}" for v in ("z", "nope", "0", "false", "''", "n", "s", "l", "d", "f", "range(2)", "l|map('string')", "html|safe") for t in (
    "none", "defined", "undefined", "string", "mapping", "iterable", "sequence", "number", "integer", "float", "boolean", "true",
    "false", "callable", "escaped", "odd", "even", "divisibleby 3", "lower", "upper", "in [1, none]", "eq none", "sameas none",
    "lt 3", "gt 3")]
FALSY += [f"{a} {op} {b}" for op in ("==", "<", "+", "~", "in", "and", "or") for a in ("z", "nope", "0", "s") for b in ("z", "nope", "''", "l")]

MARKUP = """
html|safe
html|escape
html|e|e
html|safe|e
html|safe|forceescape
html|e|forceescape
html|safe + html
html + html|safe
html|safe + html|safe
html|safe ~ html
html|safe + n
n + html|safe
(html|safe) * 2
2 * (html|e)
'%s' % (html|safe)
('%s %r %d'|safe) % (html, html, 3)
('%(a)s'|safe) % {'a': '<'}
'%s'|safe|format('<')
'%s'|format('<'|safe)
('{} {a}'|safe).format('<', a='>')
'{}'.format('<'|safe)
('{:>4}|{!r}'|safe).format('<', '&')
('<,>'|safe).split(',')
(('<,>'|safe).split(',')[0]) + '<'
('<,>'|safe).join(['<', '>'|safe, 3])
','.join(['<'|safe]) + '<'
['<', '<'|safe]|join('&')
['<', '<'|safe]|join('&'|safe) + '<'
['<'|safe]
{'a': '<'|safe}
('<'|safe)|tojson
('<'|safe) == '<'
('<'|safe) in ['<']
('<a>'|safe)[0] + '<'
('<a>'|safe)[1:] + '<'
('<a>'|safe)[::-1] + '<'
('<a>'|safe|list)[0] + '<'
('<a>'|safe).upper() + '<'
('<a>'|safe).replace('a', '&') + '<'
('<a>'|safe)|replace('a', '&') + '<'
('<a>'|safe)|upper + '<'
('<a>'|safe)|lower + '<'
('<a>'|safe)|title + '<'
('<a>'|safe)|capitalize + '<'
(' <a> '|safe)|trim + '<'
(' <a> '|safe).strip() + '<'
('<a>'|safe)|string + '<'
('<a>'|safe)|default('x') + '<'
('<a>'|safe)|reverse + '<'
('<a>'|safe)|indent(2, true) + '<'
('<a>'|safe)|indent('<', true)
('<a b c>'|safe)|truncate(4, true, '<', 0)
('<a>'|safe)|center(6) + '<'
('a'|safe).center(5, '<')
('a'|safe).ljust(5, '<') + '<'
('7'|safe).zfill(3) + '<'
('<a>'|safe).partition('a')[0] + '<'
('<a>'|safe).partition('x')[1] + '<'
('<a>'|safe).removeprefix('<') + '<'
('<a>\\n<'|safe).splitlines()[0] + '<'
('<a>'|safe).swapcase() + '<'
('<a>'|safe).capitalize() + '<'
('<a>'|safe).title() + '<'
('<a>'|safe)|length
('<a>'|safe) is string
n|safe + '<'
z|escape + '<'
nope|escape + '<'
l|safe + '<'
n|e is escaped
html|striptags
html|safe|striptags
'<p>a &amp; b</p>  <!-- c --> &lt;d&gt; &nbsp;&euro; <e'|striptags
'<b>x</b>'|striptags + '<'
('<'|safe)|urlencode
q|escape
q|escape|tojson
"Use '"|safe + d.a + "'" + d|tojson
""".strip().split("\n")

MORE = """
l|slice(2)|list
l|slice(2, 'x')|list
l|slice(5)|list
l|slice(5, 0)|list
l|slice(0)|list
'ab c/d?ü&='|urlencode
{'a b': 'c/d', 'ü': 1}|urlencode
[('a', 'b'), ('c', 2)]|urlencode
7|urlencode
1|filesizeformat
999|filesizeformat
1000|filesizeformat
123456|filesizeformat
123456|filesizeformat(true)
1e30|filesizeformat
{'a': 1, 'b': none, 'c': '<x>'}|xmlattr
{'a': 1}|xmlattr(false)
{}|xmlattr
{'a b': 1}|xmlattr
'a\\tb\\n\\tc'.expandtabs()
'a\\tb'.expandtabs(4)
'abc'.isascii()
'äbc'.isascii()
''.isascii()
'a b'.isprintable()
'a\\n'.isprintable()
'a_1'.isidentifier()
'1a'.isidentifier()
''.isidentifier()
'Ab Cd'.istitle()
'AB'.istitle()
''.istitle()
'{a} {b}'.format_map({'a': 1, 'b': 'x'})
'abcabc'.find('b', 2)
'abcabc'.find('b', 2, 4)
'abcabc'.find('', 7)
'abcabc'.rfind('b', 0, 3)
'abcabc'.index('c', -1)
'abcabc'.index('b', -1)
'äbcabc'.index('c', 3)
'abcabc'.count('b', 2)
'abcabc'.count('')
'abcabc'.startswith('b', 1)
'abcabc'.startswith('b', 1, 1)
'abcabc'.startswith(('x', 'b'), 1)
'abcabc'.endswith('b', 0, 2)
'abcabc'.endswith('b', 3, 2)
'abc'.startswith(('a', 1))
'abc'.startswith(1)
'{:5}|{:<5}|{:>5}|{:^5}|{:*^6}'.format('a', 'b', 'c', 'd', 'e')
'{:5}|{:<5}|{:05d}|{:+d}|{: d}|{:,}|{:_}'.format(1, 2, 3, 4, 5, 1234567, 1234567)
'{:x} {:X} {:#x} {:b} {:#o} {:c} {:e} {:.2f} {:%}'.format(255, 255, 255, 5, 8, 65, 3, 2, 1)
'{:.2f} {:8.3f} {:08.3f} {:+.1f} {:g} {:.3g} {:.1%} {:e} {:,.2f}'.format(2.5, 2.5, -2.5, 2.5, 1e20, 1234.5, 0.256, 12345.678, 1234567.891)
'{:.3} {:.5} {}'.format(2.0, 1e10, 1e16)
'{:10}|{:<10}'.format(2.5, 2.5)
'{:.2}'.format('abcdef')
'{:d}'.format(2.5)
'{:d}'.format('x')
'{:f}'.format('x')
'{:zz}'.format(1)
'{!r} {!s} {!a}'.format('ä', 'ä', 'ä€')
'{0.a} {0[b]} {1[0]}'.format(d, l)
'{0!r:>8}'.format('a')
'{:>3}'.format(true)
'{:>3}'.format(none)
'{:>3}'.format(l)
'{0} {}'.format(1, 2)
'{'.format(1)
'{a[}'.format(a=1)
'{{}}{}'.format(1)
big
big[0] == big[0]
big[0] == big[1]
big|tojson
big[0] is integer and big[1] is number
{big[0]: 1}[big[0]]
range(3)|list
range(5, 1, -2)|list
l|sort(reverse=true)
w|sort
w|sort(case_sensitive=true)
w|unique|list
p|map(attribute='x.y', default='-')|list
p|map(attribute='n')|map('lower')|join('/')
p|selectattr('a', '>', 10)|map(attribute='n')|list
p|selectattr('x')|list|length
p|selectattr('x', 'defined')|list|length
p|rejectattr('x', 'defined')|list|length
p|selectattr('nope', 'none')|list|length
p|sum(attribute='a')
p|groupby('a')|map('last')|map('length')|list
p|groupby('a')|map(attribute='grouper')|list
p|sort(attribute='a,n')|map(attribute='n')|list
l|map('string')|map('center', 3)|list
l|select('gt', 1)|sum
l|map('float')|list
d|tojson(ensure_ascii=true)
q|tojson(ensure_ascii=true)
q|tojson
d|tojson(sort_keys=true)
d|tojson(indent='--')
d|tojson(indent=0)
d|tojson(separators=(',', ':'))
d|tojson(2)
[1.0, 1e100, 1e-7, 0.1, -0.0, 123456789012345680.0]|tojson
[true, none, 'a/b', '\\u2028']|tojson
(1, (2,))|tojson
{1: 2, none: 3, true: 4}|tojson
range(3)|tojson
l|map('string')|tojson
nope|tojson
d.items()|tojson
s[1:3] ~ s[-3:-1] ~ s[::3]
s[5:2]
l[-2:] + l[:1]
l[none:2]
s['upper']()
d['items']()|list
d.items
d.get
(d.items()|list)[0][1]
d.keys()|first
{'items': 3}.items
{'items': 3}['items']
{'get': 3}.get
namespace(items=3).items
namespace(a=none).a is none
namespace(a=none).a is defined
namespace(a=none)['a'] is defined
namespace(a=none).b is defined
namespace({'a': 1}, b=2).a
namespace().a
namespace(a=1)
dict(a=none).a is none
dict(a=none).a is defined
dict([('a', 1)], b=2)
{'a': none}.a is defined
[none][0] is defined
[none]|first is none
[none]|last is none
[none]|max is none
[none, none]|min
{'a': {'b': none}}.a.b is none
p[0].x.y.z
p[0].nope.y
p[0]['nope']['y']
nope.a
nope['a']
nope[0]
nope()
nope + 1
nope|length
nope or 'x'
(nope)|default('x')
(nope.a)|default('x')
nope is defined and nope.a
not nope
nope == nope
nope ~ 'x'
[nope]
-nope
1 if nope
(1 if nope) is defined
(1 if nope)|default('e')
loop is defined
self is defined
caller is defined
varargs is defined
1 in (1, 2) and not 3 in (1, 2)
1 < 2 < 3
1 < 3 < 2
'a' < 'b'
'a' < 1
none < 1
[1, 2] < [1, 3]
true + 1
7 % 0
7 // 0
7 / 2
-7 % 3
7.5 // 2
2 ** -1
10 ** 18
'a' * 3
'ab' % ()
'%d%%' % 5
'%s %s' % (1,)
'%5.1f|%-5d|%05d|%+d|%x' % (2.25, 3, 4, 5, 255)
'%(x)s' % {'x': none}
'%s' % none
'%s' % [1]
s.split()
s.split(',')
s.split(',', 1)
'a,b,c'.rsplit(',', 1)
' a  b '.split()
' a  b '.split(' ')
'a\\r\\nb\\n'.splitlines()
'a\\r\\nb\\n'.splitlines(true)
'abc'.strip('ac')
'abc'.lstrip('ab')
'a-b_c d'|title
"it's"|title
"it's".title()
'HELLO world'|capitalize
'ǆ'.title()
'ß'.upper() ~ 'ẞ'.lower()
'a'.join('xyz')
'a'.join([1])
'x'.join({'p': 1, 'q': 2})
l|first ~ l|last
s|first
{}|first
d|first
d|list
d|length
d|join
'abc'|list
'abc'|batch(2)|list
s|wordcount
lines|indent
lines|indent(2, true, true)
lines|indent(width='>', first=true)
'abcdefghij'|truncate(5)
'abcdefghij'|truncate(5, true)
'abcdefghij'|truncate(5, leeway=0)
'ab cd ef gh'|truncate(7, leeway=0)
'ab cd ef gh'|truncate(7, leeway=0, end='…')
2.567|round(1)
2.5|round
3.5|round
-2.5|round
2.55|round(1)
25|round(-1)
2.1|round(0, 'ceil')
2.9|round(method='floor')
'3.7'|int
'0x1f'|int(0, 16)
'12abc'|int(5)
'z'|int(base=36)
' 5 '|int
3.99|int
'1e3'|int
'2.5'|float
'x'|float(1.5)
true|int
'%c' % 65
'a' 'b' "c"
1_000 + 0x10 + 0b11
1e3
1.5e-3
d is mapping and d is iterable and d is not string
'abc' is in 'xabcx'
2 is in l
'x' is filter
'upper' is filter
'odd' is test
'nope' is filter
""".strip().split("\n")

STATEMENTS = [
    "{% for x in [1, [2, [3]]] recursive %}{{ loop.depth }}:{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% endif %}{{ '' if loop.last else ',' }}{% endfor %}",
    "{% for x in [[1, 2], [3]] recursive %}{% if x is number %}{{ x }}{{ loop.depth0 }}{% else %}{{ loop(x) }}{% endif %}{% else %}leer{% endfor %}",
    "{% for x in l %}{{ loop(x) }}{% endfor %}",
    "{% set c = cycler('a', 'b', 'c') %}{% for i in range(5) %}{{ c.next() }}{{ c.current }}{% endfor %}{% set _ = c.reset() %}{{ c.current }}",
    "{{ cycler() }}",
    "{% set j = joiner('|') %}{% for i in l %}{{ j() }}{{ i }}{% endfor %}",
    "{% set j = joiner() %}{{ j() }}{{ j() }}{{ j() }}",
    "{% set ns = namespace(a=none, b=1) %}{% if ns.a is none %}none{% endif %}{% if ns.a is defined %} da{% endif %}{% set ns.a = 3 %}{{ ns.a }}{% set ns.b = none %}{{ ns.b is none }}{{ ns.c is defined }}",
    "{% set ns = namespace(found=false) %}{% for x in l %}{% if x == 1 %}{% set ns.found = x %}{% endif %}{% endfor %}{{ ns.found }}",
    "{% set x = none %}{% if x is not none %}a{% elif x is defined %}b{% endif %}",
    "{% for m in z|selectattr('a') %}x{% else %}leer{% endfor %}",
    "{% for m in z %}x{% endfor %}",
    "{% for m in nope %}x{% else %}leer{% endfor %}",
    "{% for k, v in z|items %}x{% endfor %}",
    "{% for k, v in nope|items %}x{% endfor %}ok",
    "{% for k, v in d|items %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in d|dictsort %}{{ k }};{% endfor %}{% for k, v in d|dictsort(reverse=true) %}{{ k }};{% endfor %}",
    "{% for k, v in d.items() if v is not string %}{{ k }}{{ loop.index }}/{{ loop.length }}{% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{% endfor %}",
    "{% for x in l %}{{ loop.previtem|default('-') }}{{ x }}{{ loop.nextitem|default('-') }}{{ loop.cycle('o', 'e') }}{{ loop.changed(x > 1) }}{{ loop.revindex }}{{ loop.revindex0 }};{% endfor %}",
    "{% for x in [none, none] %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}",
    "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% else %}nie{% endfor %}",
    "{% for i in [1, 2] %}{% for j in [1, 2, 3] %}{% if j == 2 %}{% break %}{% endif %}{{ i }}{{ j }}{% endfor %}{% endfor %}",
    "{% for i in [] %}{% else %}{% for j in l %}{% break %}{% endfor %}leer{% endfor %}",
    "{% macro m(a, b=2, *c) %}{% endmacro %}",
    "{% macro m(a, b=a) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1) }}{{ m(1, 2, 3, c=4) }}{{ m(b=5, a=6) }}",
    "{% macro m(a) %}{{ a is defined }}{{ a|default('x') }}{% endmacro %}{{ m() }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}",
    "{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}x{{ n }}{% endcall %}",
    "{% macro m(l) %}{% for x in l %}[{{ caller(x, y=x * 2) }}]{% endfor %}{% endmacro %}{% call(x, y=0) m(l) %}{{ x }}-{{ y }}{% endcall %}",
    "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}",
    "{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}",
    "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}B{{ n }}{% endmacro %}{{ a() }}",
    "{% macro f(x) %}{{ x if x < 2 else f(x - 1) ~ x }}{% endmacro %}{{ f(4) }}",
    "{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m('&')|upper }}{{ l|map('string')|map('upper')|list }}{{ m.name }}{{ m.arguments }}",
    "{% set x %}<{{ '<'|safe }}>{% endset %}{{ x + '<' }}",
    "{% set x | upper | trim %} ab {% endset %}[{{ x }}]",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}",
    "{% if true %}{% set v = 1 %}{% endif %}{{ v }}{% for i in [1] %}{% set v = 2 %}{% endfor %}{{ v }}",
    "{% set d2 = {'a': 1} %}{% set d2.a = 3 %}",
    "{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}",
    "{% with %}{% set a = 1 %}{{ a }}{% endwith %}{{ a is defined }}",
    "{% filter upper %}a{{ s }}{% endfilter %}{% filter replace('a', 'b')|title %}aa ca{% endfilter %}",
    "{% generation %}x{{ n }}{% endgeneration %}y{% for i in l %}{% generation %}{{ i }}{% endgeneration %}{% endfor %}",
    "{%- generation -%}  x  {%- endgeneration -%}  y",
    "{% for i in l %}{% generation %}{% break %}{% endgeneration %}{% endfor %}",
    "{% generation %}{% set q1 = 1 %}{% endgeneration %}{{ q1 is defined }}",
    "{{ strftime_now('%d %b %Y')|length }}", "{{ strftime_now() }}", "{{ strftime_now(3) }}",
    "{{ raise_exception('nein: ' ~ n) }}", "{{ raise_exception() }}", "{% if false %}{{ raise_exception('x') }}{% endif %}ok",
    "{{ l.append(1) }}", "{% set _ = l.append(1) %}", "{% do l.append(1) %}", "{{ d.update({'a': 1}) }}", "{{ d.pop('a') }}", "{{ l.pop() }}",
    "{{ l.index(1) }}{{ l.count(1) }}{{ l.index(9) }}", "{{ (1, 2).index(2) }}", "{{ l.copy() }}{{ d.copy() }}",
    "{{ d._x }}", "{{ d.__class__ }}", "{{ s.__len__ }}", "{{ s.format.__globals__ }}", "{{ '{0.__class__}'.format(s) }}",
    "a{# c #}b{#- c -#} d", "a {%- if true -%} b {%- endif -%} c", "a\n  {%- if true %}\n b\n {% endif %}\nc", "  {%+ if true %}x{% endif %}\n  {% if true +%}\ny{% endif %}",
    "{% raw %}{{ x }}{% if %}{% endraw %}", "{%- raw -%} {{ x }} {%- endraw -%} y", "x\n\n", "x\n{% if true %}\n{% endif %}\n", "\n\n{% set a = 1 %}\n\n{{ a }}\n",
    "{{- s -}}  \n {{ n }}", "{{ '\\n' }}{{ '\\x41\\u00e4\\101\\q' }}", "{{ 'a\\\nb' }}", "{{ \"it's\" }}{{ 'say \"x\"' }}",
    "{% if n > 5 and n < 10 or nope %}a{% endif %}{% if not (n == 7) %}b{% else %}c{% endif %}",
    "{{ n if n > 5 else m if m > 0 else 'x' }}", "{{ [n, m][n > 5] }}", "{{ {'a': [1, {'b': 2}]}['a'][1].b }}", "{{ l[0:2][1] }}{{ (l|sort)[0] }}{{ l|sort|first }}",
    "{{ 'x' if nope is not defined }}", "{{ s is not none and s|length > 3 }}", "{{ not nope is defined }}", "{{ -n|abs }}{{ (-n)|abs }}", "{{ 2 + 3|string }}", "{{ n is odd and m is odd }}",
    "{{ 'a' ~ n + 1 }}", "{{ n + 1 ~ 'a' }}", "{{ 'a' in s and 'x' not in s }}", "{{ l is iterable is true }}", "{{ (l is iterable) is true }}",
    "{{ s | upper | lower | replace('g', 'G') }}", "{{ s.upper().lower()[0:3] | title }}", "{{ [1, 2] + [3] }}{{ (1,) + (2,) }}{{ [1] + (2,) }}",
    "{% print n, s %}", "{% for x in range(3) -%}\n{{ x }}\n{%- endfor %}", "{% for c in 'äb' %}{{ c }}.{% endfor %}", "{% for x in d %}{{ x }}{% endfor %}", "{% for x in 5 %}{% endfor %}",
    "{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}", "{% trans %}x{% endtrans %}",
]

out = []
for src in ["{{ " + e + " }}" for e in EXPRS + FALSY + MARKUP + MORE] + TEMPLATES + STATEMENTS:
    try:
        want = _compile_jinja_template(src).render(**VARS)
        # Objects without a literal print their address.
        if re.search(r" at 0x[0-9a-f]+>|<built-in|<Undefined|<class", want):
            continue
        out.append({"src": src, "want": want})
    except Exception as e:
        out.append({"src": src, "error": type(e).__name__ + ": " + str(e)[:80]})
here = os.path.dirname(os.path.abspath(__file__))
json.dump({"vars": VARS, "cases": out}, open(os.path.join(here, "golden.json"), "w"), ensure_ascii=False, indent=0)
print(len(out), "cases,", sum("error" in c for c in out), "errors")

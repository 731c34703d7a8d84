"""Writes golden.json: what jinja2, set up as transformers sets it up, makes of
small templates.

    /opt/ref/venv/bin/python chat/internal/jinja/testdata/golden.py
"""
import json, os, re
from transformers.utils.chat_template_utils import _compile_jinja_template

VARS = {
    "s": "Grüße, Welt", "t": "  viel Raum \n", "e": "", "n": 7, "m": -3, "f": 2.5, "b": True, "z": None,
    "l": [3, 1, 2], "w": ["eins", "Zwei", "drei", "eins"], "d": {"b": 1, "a": "x", "c": [1, {"k": None}]},
    "p": [{"n": "Ute", "a": 30, "x": {"y": 1}}, {"n": "bob", "a": 5}, {"n": "Cem", "a": 30}],
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

out = []
for src in ["{{ " + e + " }}" for e in EXPRS] + TEMPLATES:
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

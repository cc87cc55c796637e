#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes template_cases.json: small templates and what transformers' template environment makes of
them (transformers 5.23.0, jinja2 3.1.6). "error": true = it raises.

usage: make_template_goldens.py
"""
import json
import pathlib

import jinja2
import transformers
from transformers.utils import chat_template_utils

PINNED = ("5.23.0", "3.1.6")
VARIABLES = {
    "s": " Héllo, Wörld! \n", "empty": "", "n": 7, "neg": -7, "f": 2.5, "yes": True, "no": False,
    "nothing": None, "words": ["b", "A", "c", "a"], "numbers": [3, 1, 2], "nested": [[1, [2]], {"k": "v"}],
    "d": {"b": 1, "a": "x", "C": None}, "items_of": {"items": "shadowed", "get": 1},
    "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo", "n": 3},
                 {"role": "user", "content": "Bye"}],
    "quotes": "it's \"q\" <b> & é \u2028 \x01 \\ \n\t/", "people": [
        {"name": "Bo", "age": 3, "tags": ["x"]}, {"name": "al", "age": 1, "tags": []}, {"name": "Cy"}],
}
CASES = r"""
plain text
{{ s }}|{{- s -}}|{{ s|trim }}
a {%- if yes %} b {%- endif %} c {%+ if yes %} d {% endif +%} e
  {% if yes %}
  indented
  {% endif %}
tail
{# comment #}
x {#- trimmed -#} y
{% raw %}{{ not }} {% if %}{% endraw %}
{%- raw -%}  {{ x }}  {%- endraw -%}  z
{{ 'a' 'b' }}{{ "q\"\n\t\x41\u00e9\\" }}{{ '\q' }}
{{ 1 + 2 * 3 - 4 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 7 / 2 }} {{ 1_000 }} {{ 0x1F }} {{ 1.5e3 }} {{ 1e100 }} {{ 0.00001 }} {{ 10.0 }}
{{ 2 ** -1 }} {{ -2 ** 2 }} {{ 5.5 // 2 }} {{ -5.5 % 2 }} {{ true + 1 }}
{{ 'a' ~ 1 ~ none ~ true ~ undefined_name ~ [1] }}
{{ 'ab' * 3 }}{{ [1] * 2 }}{{ [1] + [2] }}{{ (1, 2) }}{{ (1,) }}{{ () }}
{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 'a' < 'b' }} {{ 1 == 1.0 }} {{ 'a' != 'b' }} {{ not yes }} {{ yes and 'x' or 'y' }} {{ no or nothing }}
{{ 'H' in s }} {{ 'a' in d }} {{ 3 not in numbers }} {{ 'x' in undefined_name }}
{{ 'a' if yes else 'b' }}{{ 'a' if no }}{{ ('x' if no) is undefined }}
{{ d.b }}{{ d['a'] }}{{ d.missing }}{{ d.C }}{{ words[0] }}{{ words[-1] }}{{ words[9] }}{{ nested[0][1][0] }}{{ nested[1].k }}{{ words.0 }}
{{ words[1:] }}{{ words[::-1] }}{{ words[:2] }}{{ words[-2:] }}{{ words[::2] }}{{ s[1:5] }}{{ s[::-1] }}{{ s[-3:-1] }}{{ 'é中x'[1] }}{{ words[5:1] }}
{{ d }}{{ nested }}{{ quotes }}{{ [quotes] }}{{ [s, 'it\'s', "q\"", none, true, 1.0] }}
{{ d|tojson }} {{ quotes|tojson }} {{ nested|tojson(indent=2) }} {{ d|tojson(sort_keys=true) }} {{ [1.0, 2e-7, 1e22]|tojson }} {{ quotes|tojson(ensure_ascii=true) }} {{ d|tojson(separators=(',', ':')) }} {{ []|tojson(indent=1) }}{{ {}|tojson }}{{ {1: 2, none: 3, true: 4}|tojson }}
{{ s|upper }}{{ s|lower }}{{ s|title }}{{ 'hello wORLD-foo (bar'|title }}{{ 'hELLO'|capitalize }}{{ 'x'|length }}{{ words|length }}{{ 'ß ﬁ'|upper }}
{{ words|join }}{{ words|join(', ') }}{{ people|join('-', attribute='name') }}{{ words|first }}{{ words|last }}{{ []|first is defined }}{{ words|list }}{{ 'abc'|list }}{{ 'abc'|reverse }}{{ words|reverse|list }}
{{ words|sort }}{{ words|sort(case_sensitive=true) }}{{ words|sort(reverse=true) }}{{ numbers|sort }}{{ people|map(attribute='name')|sort|join(',') }}{{ words|unique|list }}
{{ d|dictsort }}{{ d|dictsort(reverse=true) }}{{ {'x': 2, 'y': 1}|dictsort(by='value') }}{{ d|items|list }}{% for k, v in d|items %}{{ k }}={{ v }};{% endfor %}
{{ numbers|sum }}{{ numbers|min }}{{ numbers|max }}{{ people|sum(attribute='age', start=10) if no }}{{ [1.5, 2]|sum }}
{{ missing|default('x') }}{{ empty|default('x') }}{{ empty|default('x', true) }}{{ nothing|d('y', boolean=true) }}{{ missing|default }}
{{ '42'|int }}{{ '4.7'|int }}{{ 'x'|int }}{{ 'x'|int(9) }}{{ 'ff'|int(base=16) }}{{ 3.9|int }}{{ '2.5'|float }}{{ 'x'|float }}{{ -3|abs }}{{ 2.567|round(2) }}{{ 2.5|round }}{{ 2.1|round(method='ceil') }}
{{ 'a\nb\n\nc'|indent }}|{{ 'a\nb'|indent(2, true) }}|{{ 'a\n\nb'|indent(1, blank=true) }}|{{ 'a\nb'|indent('> ') }}
{{ 'aXbXc'|replace('X', '-') }}{{ 'aaa'|replace('a', 'b', 2) }}{{ 'xx a xx'|trim('x') }}{{ '<a href="x">\'&'|escape }}{{ 5|string ~ 'x' }}{{ s|safe }}
{{ people|selectattr('age')|map(attribute='name')|list }}{{ people|selectattr('age', 'eq', 1)|list|length }}{{ people|rejectattr('age', 'defined')|map(attribute='name')|list }}{{ numbers|select('odd')|list }}{{ numbers|reject('gt', 1)|list }}{{ words|map('upper')|list }}{{ words|map('replace', 'a', 'z')|list }}{{ people|map(attribute='age', default=0)|list }}{{ [0, 1, '']|select|list }}
{{ numbers|batch(2)|list }}{{ numbers|batch(2, 'f')|list }}{{ '%s-%d'|format('a', 3) }}{{ '%5.2f|%-4s|%03d' % (1.234, 'x', 7) }}{{ 'a%%b %s' % 'x' }}
{{ s.strip() }}|{{ s.lstrip() }}|{{ s.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'a,b,,c'.split(',') }}|{{ ' a  b '.split() }}|{{ 'a,b,c'.split(',', 1) }}|{{ 'a,b,c'.rsplit(',', 1) }}|{{ 'a b  c'.split(None, 1) }}|{{ 'a\nb\r\nc'.splitlines() }}
{{ 'abc'.startswith('ab') }}{{ 'abc'.startswith(('x', 'a')) }}{{ 'abc'.endswith('bc') }}{{ 'abc'.find('c') }}{{ 'abc'.find('z') }}{{ 'écé'.rfind('é') }}{{ 'aXa'.count('a') }}{{ 'a-b'.replace('-', '+') }}{{ '-'.join(['a', 'b']) }}{{ 'aBc'.upper() }}{{ 'aBc'.lower() }}{{ 'they\'re bill'.title() }}{{ 'abc'.capitalize() }}
{{ 'k=v'.partition('=') }}{{ 'a=b=c'.rpartition('=') }}{{ 'abc'.removeprefix('a') }}{{ 'abc'.removesuffix('c') }}{{ '12'.isdigit() }}{{ 'ab1'.isalnum() }}{{ ' '.isspace() }}{{ 'AB'.isupper() }}{{ '7'.zfill(3) }}{{ 'x'.center(4) }}{{ 'x'.ljust(3) }}|{{ 'x'.rjust(3, '.') }}{{ '{} {0} {a}'.format(1, a=2) if no }}{{ '{}-{}'.format(1, 'b') }}
{{ d.items()|list }}{{ d.keys()|list }}{{ d.values()|list }}{{ d.get('b') }}{{ d.get('zz') }}{{ d.get('zz', 5) }}{{ items_of['items'] }}{{ items_of.get('get') }}{{ words.index('c') }}{{ words.count('a') }}
{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem.content if loop.previtem is defined }}{{ loop.nextitem.content if not loop.last }}{{ loop.cycle('x', 'y') }}{{ loop.changed(m.role) }}{{ loop.depth }};{% endfor %}
{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ m.content }}{% else %}none{% endfor %}{% for m in [] %}x{% else %}none{% endfor %}
{% for a, b in [(1, 2), (3, 4)] %}{{ a }}+{{ b }} {% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for c in 'añ' %}[{{ c }}]{% endfor %}{% for x in missing %}x{% endfor %}
{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}{{ range(2, 8, 3)|list }}{{ range(3, 0, -1)|list }}
{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}{% if yes %}{% set x = 9 %}{% endif %}{{ x }}
{% set ns = namespace(a=1, b='x') %}{% for i in [1, 2] %}{% set ns.a = ns.a + i %}{% set ns.c = i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c }}{{ ns.zz is defined }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set t %}block {{ a }}{% endset %}[{{ t }}]{% set u | upper | trim %} low {% endset %}[{{ u }}]
{% macro m(a, b='B', c=none) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(b=3, a=4) }}{{ m() }}{{ m('x')|upper }}
{% macro fact(n) %}{% if n < 2 %}1{% else %}{{ n * fact(n - 1)|int }}{% endif %}{% endmacro %}{{ fact(5) }}
{% macro outer() %}<{{ caller() }}>{% endmacro %}{% call outer() %}body {{ n }}{% endcall %}{% macro each(xs) %}{% for x in xs %}{{ caller(x) }}{% endfor %}{% endmacro %}{% call(x) each([1, 2]) %}({{ x }}){% endcall %}
{% set g = 'top' %}{% macro sees() %}{{ g }}{% endmacro %}{% for g in ['loop'] %}{{ sees() }}{% endfor %}{% set g = 'later' %}{{ sees() }}
{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}{% filter upper %}low {{ s }}{% endfilter %}
{% for node in [{'v': 1, 'kids': [{'v': 2, 'kids': []}]}] recursive %}{{ node.v }}{{ loop.depth0 }}({{ loop(node.kids) }}){% endfor %}
{% if n is defined and missing is not defined %}1{% endif %}{{ nothing is none }}{{ s is string }}{{ n is number }}{{ n is integer }}{{ f is float }}{{ yes is boolean }}{{ yes is true }}{{ no is false }}{{ 1 is true }}{{ d is mapping }}{{ words is iterable }}{{ n is iterable }}{{ s is sequence }}{{ d is sequence }}{{ missing is iterable }}{{ range is callable }}
{{ 3 is odd }}{{ 4 is even }}{{ 9 is divisibleby 3 }}{{ 1 is eq 1 }}{{ 2 is gt(1) }}{{ 'a' is in 'abc' }}{{ n is sameas n }}{{ 'ab' is lower }}{{ 'AB' is upper }}{{ 'upper' is filter }}{{ 'odd' is test }}{{ 1 is not none }}{{ not 1 is none }}
{{ {'a': 1, 'b': [1, {'c': none}]} }}{{ {'a': 1}.a }}{{ dict(a=1, b=2) }}{{ [1, 2,] }}{{ {'a': 1,} }}
{% generation %}gen{% endgeneration %} {% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}
{{ strftime_now('%d %b %Y %H:%M') }}
{{ messages[0]['content'] + '\n' }}{{ messages|length - 1 }}{{ (messages|last).content }}{{ messages[1:]|map(attribute='content')|join(' ') }}{{ messages[::-1][0].content }}
{{ raise_exception('no') }}
{{ missing.attribute }}
{{ missing() }}
{{ 'a' + 1 }}
{{ 1 / 0 }}
{{ n.x.y }}
{{ words.append('x') }}
{{ d.update({}) }}
{{ s|nofilter }}
{{ s is notest }}
{% for x in 5 %}{% endfor %}
{% set d.x = 1 %}
{{ missing|tojson }}
{{ s.__class__ }}{{ ''.__class__ is defined }}
{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}
{{ range(1000000) }}
{{ namespace(_x=1) }}
{% if %}
{% endfor %}
{{ 'unclosed }}
{{ a b }}
{% for x in [1] %}
{% unknown %}
{% break %}
{{ (1 }}
"""
MULTILINE = [
    "{%- for m in messages %}\n    {%- if m.role == 'user' %}\n        {{- m.content }}\n    {%- else %}\n"
    "        {{- '[' + m.content + ']' }}\n    {%- endif %}\n{%- endfor %}\n",
    "{% for m in messages %}\n  {{ m.content }}\n{% endfor %}\n\n\nend\n\n",
    "line\r\nnext\rlast\n", "  {%- if yes %}\n\n x\n {%- endif -%}\n\n y",
    "\t{% set a = 1 %}\n\t{{ a }}\n\t{# c #}\nz\n", "{{ n }}\n{% if no %}\nx\n{% endif %}\n", "a\n\n",
    "{% if yes +%}\n x {% endif %}", "{%- macro f() -%}\n  inner\n{%- endmacro -%}\n  {{ f() }}\n",
]


class FrozenNow(chat_template_utils.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26, 13, 45, 9)


def main():
    assert (transformers.__version__, jinja2.__version__) == PINNED, f"needs {PINNED}"
    chat_template_utils.datetime = FrozenNow
    templates = [line for line in CASES.split("\n") if line] + MULTILINE
    cases = []
    for template in templates:
        case = {"template": template}
        try:
            compiled = chat_template_utils._compile_jinja_template(template)
            case["text"] = compiled.render(**json.loads(json.dumps(VARIABLES)))
        except Exception:  # every kind of failure counts the same here
            case["error"] = True
        cases.append(case)
    path = pathlib.Path(__file__).parent / "template_cases.json"
    path.write_text(json.dumps({"source": f"transformers {PINNED[0]}, jinja2 {PINNED[1]}",
                                "now": "2024-07-26 13:45:09", "variables": VARIABLES,
                                "cases": cases}, ensure_ascii=False, indent=0))
    print(len(cases), "cases,", sum("error" in c for c in cases), "of them errors")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes jinja_names.json: templates for each filter, test, method, function and loop attribute of
the template language, and what transformers' template environment renders (transformers 5.23.0,
jinja2 3.1.6; null = it raises an error). tests/architecture/check_names_tested.py compares the
names with the interpreter's tables.

usage: make_jinja_goldens.py
"""
import json
import pathlib
import re

import make_template_goldens
from make_template_goldens import PINNED, VARIABLES

import jinja2
import transformers
from transformers.utils import chat_template_utils

# Kind, then per line: name, templates. Two or more blanks before "{" or "[" separate templates.
NAMES = {
    "filter": r"""
upper         {{ s|upper }}  {{ 'ß ﬁ ŉ'|upper }}  {{ 5|upper }}
lower         {{ s|lower }}  {{ 'İSΩ'|lower }}  {{ none|lower }}
capitalize    {{ 'hELLO wORLD'|capitalize }}  {{ ''|capitalize }}
title         {{ "they're (new) x-ray 3d"|title }}
trim          [{{ s|trim }}]  {{ 'xxaxx'|trim('x') }}  {{ 'abcba'|trim(chars='ab') }}
string        {{ [1]|string + 'x' }}  {{ none|string }}
safe          {{ '<b>'|safe }}
escape        {{ '<a href="x">\'&'|escape }}
e             {{ '<&>'|e }}
forceescape   {{ '<"\'>'|forceescape }}  {{ 5|forceescape }}
default       {{ missing|default('x') }}  {{ empty|default('x') }}  {{ empty|default('x', true) }}  [{{ missing|default }}]
d             {{ nothing|d('y') }}  {{ nothing|d('y', boolean=true) }}
length        {{ 'é中'|length }}{{ words|length }}{{ d|length }}{{ missing|length }}  {{ 5|length }}
count         {{ words|count }}
tojson        {{ d|tojson }}  {{ quotes|tojson }}  {{ nested|tojson(indent=2) }}  {{ d|tojson(separators=(',', ':'), sort_keys=true) }}  {{ 'é'|tojson(ensure_ascii=true) }}
replace       {{ 'aaa'|replace('a', 'b') }}  {{ 'aaa'|replace('a', 'b', 2) }}  {{ 'ab'|replace('', '-') }}  {{ 'ab'|replace('a') }}
indent        {{ 'a\nb\n\nc'|indent }}  {{ 'a\nb'|indent(2, true) }}  {{ 'a\n\nb'|indent(1, blank=true) }}  {{ 'a\nb'|indent('> ') }}
int           {{ '42'|int }} {{ '4.7'|int }} {{ 3.9|int }} {{ true|int }}  {{ 'x'|int }} {{ 'x'|int(9) }}  {{ 'ff'|int(base=16) }} {{ '0b11'|int(base=2) }}
float         {{ '2.5'|float }} {{ 7|float }} {{ ' 1e3 '|float }}  {{ 'x'|float }} {{ 'x'|float(1.5) }}
abs           {{ neg|abs }} {{ -2.5|abs }} {{ true|abs }}  {{ 'x'|abs }}
round         {{ 2.567|round(2) }} {{ 2.5|round }} {{ 3.5|round }}  {{ 2.1|round(method='ceil') }} {{ 2.19|round(1, 'floor') }}  {{ 1|round(0, 'up') }}
center        [{{ 'ab'|center(7) }}][{{ 'abc'|center(6) }}]  {{ 'x'|center|length }}
attr          [{{ d|attr('b') }}]  {{ words|attr('index')('c') }}  {{ words|attr }}
format        {{ '%s-%d'|format('a', 3) }}  {{ '%5.2f|%-4s|%03d'|format(1.234, 'x', 7) }}  {{ '%d'|format('x') }}
map           {{ words|map('upper')|list }}  {{ people|map(attribute='name')|list }}  {{ people|map(attribute='age', default=0)|list }}  {{ words|map('replace', 'a', 'z')|list }}  {{ words|map()|list }}
select        {{ numbers|select('odd')|list }}  {{ [0, 1, '']|select|list }}  {{ numbers|select('gt', 1)|list }}
reject        {{ numbers|reject('gt', 1)|list }}  {{ [0, 1, '']|reject|list }}
selectattr    {{ people|selectattr('age')|map(attribute='name')|list }}  {{ people|selectattr('age', 'eq', 1)|list|length }}  {{ people|selectattr()|list }}
rejectattr    {{ people|rejectattr('age', 'defined')|map(attribute='name')|list }}
first         {{ words|first }}{{ 'xyz'|first }}  {{ []|first is defined }}
last          {{ words|last }}{{ 'xyz'|last }}  {{ []|last is defined }}
list          {{ 'añ'|list }}{{ d|list }}{{ (1, 2)|list }}  {{ 5|list }}
reverse       {{ 'abc'|reverse }}  {{ words|reverse|list }}
items         {{ d|items|list }}  {{ missing|items|list }}  {{ words|items|list }}
join          {{ words|join }}  {{ words|join(', ') }}  {{ people|join('-', attribute='name') }}  {{ [1, none]|join('|') }}
sort          {{ words|sort }}  {{ words|sort(case_sensitive=true) }}  {{ words|sort(reverse=true) }}  {{ people|sort(attribute='name')|map(attribute='name')|list }}  {{ [1, 'a']|sort }}
dictsort      {{ d|dictsort }}  {{ d|dictsort(true) }}  {{ {'x': 2, 'y': 1}|dictsort(by='value') }}  {{ d|dictsort(reverse=true) }}  {{ words|dictsort }}
unique        {{ words|unique|list }}  {{ words|unique(case_sensitive=true)|list }}  {{ people|unique(attribute='age')|list|length }}
max           {{ numbers|max }} {{ words|max }}  {{ [{'a': 1}, {'a': 2}]|max(attribute='a') }}  {{ []|max is defined }}
min           {{ numbers|min }} {{ words|min }} {{ words|min(case_sensitive=true) }}  {{ [{'a': 2}, {'a': 1}]|min(attribute='a') }}  {{ [1, 'a']|min }}
sum           {{ numbers|sum }} {{ [1.5, 2]|sum }}  {{ [{'a': 1}, {'a': 2}]|sum(attribute='a', start=10) }}  {{ words|sum }}
batch         {{ numbers|batch(2)|list }}  {{ numbers|batch(2, 'f')|list }}
""",
    "test": r"""
defined       {{ n is defined }}{{ missing is defined }}{{ nothing is defined }}
undefined     {{ n is undefined }}{{ missing is undefined }}{{ d.zz is undefined }}
none          {{ nothing is none }}{{ n is none }}{{ missing is none }}
string        {{ s is string }}{{ n is string }}
boolean       {{ yes is boolean }}{{ 1 is boolean }}
integer       {{ n is integer }}{{ f is integer }}{{ yes is integer }}
float         {{ f is float }}{{ n is float }}
number        {{ n is number }}{{ f is number }}{{ yes is number }}{{ s is number }}
true          {{ yes is true }}{{ 1 is true }}{{ no is true }}
false         {{ no is false }}{{ 0 is false }}{{ yes is false }}
mapping       {{ d is mapping }}{{ words is mapping }}
iterable      {{ words is iterable }}{{ s is iterable }}{{ n is iterable }}{{ missing is iterable }}
sequence      {{ s is sequence }}{{ d is sequence }}{{ words is sequence }}{{ n is sequence }}
callable      {{ range is callable }}{{ n is callable }}{{ s.upper is callable }}
sameas        {{ n is sameas n }}{{ words is sameas words }}{{ nothing is sameas none }}{{ 1 is sameas true }}
in            {{ 'a' is in 'abc' }}{{ 1 is in numbers }}{{ 9 is in numbers }}{{ 'b' is in d }}
eq            {{ 1 is eq 1 }}{{ 1 is eq 1.0 }}{{ 'a' is eq 'b' }}
equalto       {{ words is equalto(words) }}{{ 1 is equalto 2 }}
==            {{ [1, 2]|select('==', 2)|list }}
ne            {{ 1 is ne 2 }}{{ 1 is ne 1 }}
!=            {{ [1, 2]|select('!=', 2)|list }}
lt            {{ 1 is lt 2 }}{{ 2 is lt 1 }}{{ 'a' is lt 'b' }}  {{ 1 is lt 'b' }}
lessthan      {{ 1 is lessthan 2 }}{{ 1 is lessthan 1 }}
<             {{ [1, 2, 3]|select('<', 2)|list }}
le            {{ 1 is le 1 }}{{ 2 is le 1 }}
<=            {{ [1, 2, 3]|select('<=', 2)|list }}
gt            {{ 2 is gt(1) }}{{ 1 is gt 1 }}
greaterthan   {{ 2 is greaterthan 1 }}{{ 1 is greaterthan 2 }}
>             {{ [1, 2, 3]|select('>', 2)|list }}
ge            {{ 1 is ge 1 }}{{ 1 is ge 2 }}
>=            {{ [1, 2, 3]|select('>=', 2)|list }}
odd           {{ 3 is odd }}{{ 4 is odd }}{{ -3 is odd }}  {{ 'x' is odd }}
even          {{ 4 is even }}{{ 3 is even }}{{ 0 is even }}
divisibleby   {{ 9 is divisibleby 3 }}{{ 9 is divisibleby(num=2) }}  {{ 9 is divisibleby 0 }}
lower         {{ 'ab1' is lower }}{{ 'aB' is lower }}{{ '1' is lower }}
upper         {{ 'AB1' is upper }}{{ 'aB' is upper }}{{ '' is upper }}
escaped       {{ s is escaped }}
filter        {{ 'upper' is filter }}{{ 'nosuch' is filter }}{{ 'map' is filter }}
test          {{ 'odd' is test }}{{ 'nosuch' is test }}
""",
    "function": r"""
range             {{ range(3)|list }}{{ range(2, 8, 3)|list }}{{ range(3, 0, -1)|list }}{{ range(0)|list }}  {{ range(1, 2, 0)|list }}  {{ range('x')|list }}
dict              {{ dict(a=1, b='x') }}{{ dict({'k': 1}, k=2, z=3) }}{{ dict() }}
namespace         {% set ns = namespace(a=1) %}{% set ns.a = ns.a + 1 %}{{ ns.a }}  {% set ns = namespace({'x': 5}, y=6) %}{{ ns.x }}{{ ns.y }}
raise_exception   {{ raise_exception('no') }}  {% if no %}{{ raise_exception('no') }}{% endif %}kept
strftime_now      {{ strftime_now('%d %b %Y %H:%M') }}  {{ strftime_now('%A %-d %j') }}  [{{ strftime_now('') }}]
""",
    "string method": r"""
upper         {{ 'aBç'.upper() }}
lower         {{ 'AbÇ'.lower() }}
casefold      {{ 'AbÇ'.casefold() }}
title         {{ "they're bill 3d".title() }}
capitalize    {{ 'aBC dEF'.capitalize() }}
strip         [{{ s.strip() }}]{{ 'xxaxx'.strip('x') }}{{ 'abcba'.strip('ab') }}
lstrip        [{{ s.lstrip() }}]{{ 'xxaxx'.lstrip('x') }}
rstrip        [{{ s.rstrip() }}]{{ 'xxaxx'.rstrip('x') }}
split         {{ 'a,b,,c'.split(',') }}{{ ' a  b '.split() }}{{ 'a,b,c'.split(',', 1) }}{{ 'a b  c'.split(none, 1) }}  {{ 'a'.split('') }}
rsplit        {{ 'a,b,c'.rsplit(',', 1) }}{{ ' a  b c'.rsplit(none, 1) }}
splitlines    {{ 'a\nb\r\nc\n'.splitlines() }}{{ 'a\nb'.splitlines(true) }}
partition     {{ 'a=b=c'.partition('=') }}{{ 'abc'.partition('=') }}  {{ 'a'.partition('') }}
rpartition    {{ 'a=b=c'.rpartition('=') }}{{ 'abc'.rpartition('=') }}
startswith    {{ 'abc'.startswith('ab') }}{{ 'abc'.startswith(('x', 'a')) }}{{ 'abc'.startswith('b', 1) }}{{ 'a'.startswith('abc') }}
endswith      {{ 'abc'.endswith('bc') }}{{ 'abc'.endswith(('x', 'c')) }}{{ 'abc'.endswith('b', 0, 2) }}
find          {{ 'éabé'.find('é') }}{{ 'éabé'.find('é', 1) }}{{ 'abc'.find('z') }}{{ 'abc'.find('a', -2) }}
rfind         {{ 'écé'.rfind('é') }}{{ 'abc'.rfind('z') }}
index         {{ 'abc'.index('c') }}{{ 'abcabc'.index('b', 2) }}  {{ 'abc'.index('z') }}
rindex        {{ 'abcab'.rindex('b') }}  {{ 'abc'.rindex('z') }}
count         {{ 'aXaXa'.count('a') }}{{ 'aaaa'.count('aa') }}{{ 'abc'.count('') }}{{ 'aXa'.count('a', 1) }}
replace       {{ 'a-b-c'.replace('-', '+') }}{{ 'a-b-c'.replace('-', '', 1) }}{{ 'ab'.replace('', '.') }}
join          {{ '-'.join(['a', 'b']) }}{{ ''.join('xy') }}  {{ '-'.join([1]) }}
removeprefix  {{ 'abc'.removeprefix('a') }}{{ 'abc'.removeprefix('x') }}
removesuffix  {{ 'abc'.removesuffix('c') }}{{ 'abc'.removesuffix('x') }}
isdigit       {{ '12'.isdigit() }}{{ '1a'.isdigit() }}{{ '²'.isdigit() }}{{ ''.isdigit() }}
isdecimal     {{ '12'.isdecimal() }}{{ '²'.isdecimal() }}{{ '١'.isdecimal() }}{{ ''.isdecimal() }}
isnumeric     {{ '12'.isnumeric() }}{{ '½'.isnumeric() }}{{ 'a'.isnumeric() }}{{ ''.isnumeric() }}
isalpha       {{ 'aé中'.isalpha() }}{{ 'a1'.isalpha() }}{{ ''.isalpha() }}
isalnum       {{ 'ab1'.isalnum() }}{{ 'a b'.isalnum() }}
isspace       {{ ' \t\n'.isspace() }}{{ ' a'.isspace() }}{{ ''.isspace() }}
islower       {{ 'ab1'.islower() }}{{ 'aB'.islower() }}{{ '1'.islower() }}
isupper       {{ 'AB1'.isupper() }}{{ 'Ab'.isupper() }}{{ ''.isupper() }}
ljust         [{{ 'x'.ljust(3) }}][{{ 'x'.ljust(3, '.') }}][{{ 'xyz'.ljust(2) }}]  {{ 'x'.ljust(3, 'ab') }}
center        [{{ 'x'.center(4) }}][{{ 'ab'.center(5, '.') }}]
rjust         [{{ 'x'.rjust(3) }}][{{ 'x'.rjust(3, '.') }}]
zfill         {{ '7'.zfill(3) }}{{ '-7'.zfill(4) }}{{ 'abc'.zfill(2) }}
format        {{ '{}-{}'.format(1, 'b') }}{{ '{0}{1}{0}'.format('a', 'b') }}{{ '{a}'.format(a=2) }}  {{ '{}'.format() }}
""",
    "dict method": r"""
items         {{ d.items()|list }}{% for k, v in d.items() %}{{ k }}{{ v }}{% endfor %}
keys          {{ d.keys()|list }}
values        {{ d.values()|list }}
get           {{ d.get('b') }}{{ d.get('zz') }}{{ d.get('zz', 5) }}
copy          {{ d.copy() }}
pop           {{ d.pop('b') }}
popitem       {{ d.popitem() }}
update        {{ d.update({}) }}
clear         {{ d.clear() }}
setdefault    {{ d.setdefault('b', 1) }}
""",
    "list method": r"""
index         {{ words.index('c') }}  {{ words.index('zz') }}
count         {{ words.count('a') }}{{ [1, 1, 2].count(1) }}
copy          {{ words.copy() }}
append        {{ words.append('x') }}
extend        {{ words.extend(['x']) }}
insert        {{ words.insert(0, 'x') }}
pop           {{ words.pop() }}
remove        {{ words.remove('a') }}
reverse       {{ words.reverse() }}
sort          {{ words.sort() }}
clear         {{ words.clear() }}
""",
    "tuple method": r"""
index         {{ (1, 2).index(2) }}  {{ (1, 2).index(3) }}
count         {{ (1, 2, 1).count(1) }}
""",
    "loop attribute": r"""
index         {% for x in words %}{{ loop.index }}{% endfor %}
index0        {% for x in words %}{{ loop.index0 }}{% endfor %}
revindex      {% for x in words %}{{ loop.revindex }}{% endfor %}
revindex0     {% for x in words %}{{ loop.revindex0 }}{% endfor %}
first         {% for x in words %}{{ loop.first }}{% endfor %}
last          {% for x in words %}{{ loop.last }}{% endfor %}
length        {% for x in words %}{{ loop.length }}{% endfor %}
depth         {% for x in [[[]]] recursive %}{{ loop.depth }}{{ loop(x) }}{% endfor %}
depth0        {% for x in [[[]]] recursive %}{{ loop.depth0 }}{{ loop(x) }}{% endfor %}
previtem      {% for x in words %}{{ loop.previtem|default('-') }}{% endfor %}
nextitem      {% for x in words %}{{ loop.nextitem|default('-') }}{% endfor %}
cycle         {% for x in words %}{{ loop.cycle('x', 'y') }}{% endfor %}  {% for x in words %}{{ loop.cycle() }}{% endfor %}
changed       {% for x in [1, 1, 2] %}{{ loop.changed(x) }}{% endfor %}
""",
}


def render(template):
    variables = json.loads(json.dumps(VARIABLES))
    try:
        return chat_template_utils._compile_jinja_template(template).render(**variables)
    except Exception:  # every kind of error counts the same here
        return None


def parse(table):
    """name -> templates."""
    names = {}
    for line in table.strip().split("\n"):
        name, rest = line.split(None, 1)
        names[name] = re.split(r" {2,}(?=[{\[])", rest.strip())
    return names


def main():
    assert (transformers.__version__, jinja2.__version__) == PINNED, f"needs {PINNED}"
    chat_template_utils.datetime = make_template_goldens.FrozenNow
    kinds = {}
    for kind, table in NAMES.items():
        kinds[kind] = {
            name: [[template, render(template)] for template in templates]
            for name, templates in parse(table).items()
        }
    golden = {
        "source": f"transformers {PINNED[0]}, jinja2 {PINNED[1]}",
        "now": "2024-07-26 13:45:09",
        "variables": VARIABLES,
        "kinds": kinds,
    }
    path = pathlib.Path(__file__).parent / "jinja_names.json"
    path.write_text(json.dumps(golden, ensure_ascii=False, indent=0) + "\n")
    for kind, names in kinds.items():
        errors = [template for cases in names.values() for template, text in cases if text is None]
        print(kind, len(names), "names;", "errors:", errors)


if __name__ == "__main__":
    main()

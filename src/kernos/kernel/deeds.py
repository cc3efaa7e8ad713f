"""What a text says that its speaker has done: “I’ve sent it”, “payment made”, “已为您取消”.

    claims(text)        each such deed, with the kinds of effect that would make it true

Questions, conditions, and what others are quoted with claim nothing. Words by which one also talks with the owner (“I
asked”) count only where somebody else is meant, and words for texts (“I added”) only with a thing that lies outside of
the talk. In English and Chinese; where a table lacks a word, a claim passes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from kernos.kernel.lexicon import CHINESE, COMPOUNDS, ENGLISH
from kernos.kernel.texts import normalise
from kernos.kernel.types import EffectKind

KINDS: Sequence[EffectKind] = ("sends", "destroys", "writes", "grants", "pays")
"""By the first of its kinds a word of several is called."""


class Deed(NamedTuple):
    """Something that a sentence says is done; any of the kinds of effect makes it true."""

    sentence: str
    verb: str
    kinds: Sequence[str]


# Words


def _past(verb: str) -> list[str]:
    """The past forms of an English verb."""
    if verb in _IRREGULAR:
        return _IRREGULAR[verb].split()
    if verb.endswith("e"):
        return [f"{verb}d"]
    if re.search(r"[^aeiou]y$", verb):
        return [f"{verb[:-1]}ied"]
    return [f"{verb}{verb[-1]}ed", f"{verb}ed"] if verb in _DOUBLED else [f"{verb}ed"]


def _by_word(table: Mapping[str, str]) -> dict[str, list[str]]:
    """Each word of a table with its kinds."""
    lists = {kind: table[kind].split() for kind in KINDS}
    return {word: [kind for kind in KINDS if word in lists[kind]] for words in lists.values() for word in words}


_IRREGULAR = {
    "send": "sent", "write": "wrote written", "tell": "told", "pay": "paid", "buy": "bought", "make": "made",
    "give": "gave given", "set": "set", "put": "put", "dm": "dm'd",
}  # fmt: skip
_DOUBLED = "drop tip ban submit transfer cancel debit".split()
_NO_VERBS = "new permission access checkout".split()
_TALK = {
    **dict.fromkeys(
        "tell inform notify remind contact message ask dm".split(),
        re.compile(
            r" (?!(?:you|your question|for|whether|if|about|that|what|why|how|in|above|earlier|already|before|back"
            r"|myself|an?|to|which|when|where|who|it|this)\b)\w"
        ),
    ),
    **dict.fromkeys(
        "write reply respond answer comment".split(),
        re.compile(r"(?: back)?(?: an? [\w ]{1,30}?)? (?:to (?!(?:you|your question|your message|do|be)\b)\w"
                   r"|(?:him|her|them)\b|\w[\w.+-]*@)"),
    ),
}  # fmt: skip
"""Words by which one also talks with the owner, and how it goes on where somebody else is meant."""
_LOOSE = frozenset(
    "create add make change update set adjust append move edit put fill copy register star insert fork give allow join "
    "remove drop clear discard close share".split()
)
"""Words that also say what was done to a text."""
_THING = (
    r"\b(?:files?|folders?|documents?|calendars?|events?|meetings?|appointments?|databases?|records?|entry|entries"
    r"|spreadsheets?|sheets?|reminders?|tickets?|issues?|tasks?|invitations?|invites?|accounts?|subscriptions?|contacts?"
    r"|groups?|channels?|members?|users?|access|permissions?|rights|passwords?|settings?|profiles?|inbox|e-?mails?"
    r"|messages?|orders?|bookings?|reservations?|transactions?|payments?|repository|repo|branch|carts?|rooms?|drive"
    r"|tables?|flights?|hotels?|money|bills?)\b"
)
"""What is outside of the talk."""
_THINGS = re.compile(_THING)
_ZH_TALK = frozenset("回复 回信 通知 告诉 联系 提醒 写信 留言 分享 发".split())
_ZH_LOOSE = frozenset(
    "创建 新建 建 加 添加 写 改 更新 修改 设置 编辑 记录 移动 清除 关闭 分享 共享 允许 加入 移除".split()
)
_ZH_THINGS = re.compile(
    "日历|日程|会议|文件|文档|表格|提醒|备忘|数据库|记录|订单|预约|预订|账户|账号|帐号|联系人|群|权限|成员|待办|任务|邮件|密码"
    "|设置|订阅|购物车"
)
_VERBS = {form: verb for verb in _by_word(ENGLISH) if verb not in _NO_VERBS for form in _past(verb)}
_ENGLISH, _CHINESE = _by_word(ENGLISH), _by_word(CHINESE)

# Claims

_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[，。！？；])|\n+")
_QUOTED = re.compile(r"[“\"「『][^”\"」』]{0,400}[”\"」』]")
_NO_CLAIM = re.compile(
    r"\?\s*$|？\s*$|吗\s*$|^\W*(?:if|unless|once|when|whether|should|suppose|before|have i|did i)\b"
    r"|(?<!\byou )(?<!\bi )\b(?:says?|said|wrote|writes|states?)\b"
    r"|\b(?:according to (?!your)|would have|could have|should have|might have|if i)\b"
    r"|如果|若您|若你|假如|一旦|是否|写道|据说"
)
_FILL = r"(?:just|already|now|also|then|successfully|since|today|finally|both|went ahead and|gone ahead and)"
_PAST = "|".join(sorted(map(re.escape, _VERBS), key=len, reverse=True))
_DONE = rf"(?P<verb>{_PAST})\b"
_PATTERNS = (
    rf"\b(?:i|we)(?:'ve| have| had|'d)?(?:\s+{_FILL}){{0,3}}\s+{_DONE}",
    rf"\b(?:i|we)\b(?:(?!\b(?:he|she|they|who|which|that)\b)[^;:]){{1,80}}?(?:,|\band\b|\bthen\b)"
    rf"\s+(?:{_FILL}\s+){{0,2}}{_DONE}(?!\s+by\b)",
    rf"(?<!will )\b(?:has|have)(?:\s+{_FILL}){{0,2}} been (?:{_FILL} ){{0,2}}{_DONE}(?!\s+by\b)",
    rf"\b(?:is|are|was|were) (?:now|all|successfully) {_DONE}(?!\s+by\b)",
    rf"\bsuccessfully {_DONE}",
    rf"{_DONE} successfully\b",
    rf"^\W*(?:(?:the|your|an?)\s+)?(?:\w+\s+)?{_THING}\s+{_DONE}(?=\W*$|\s+(?:for|to|at|from)\b)",
    rf"^(?:(?:all )?done|ok|okay|great|sure)?[\s,.:!-]*{_DONE}(?=\W*$|\s+(?:it|the|your|them|him|her|to|\d))",
)
_NOUNS = {
    "payment": "pays", "transfer": "pays", "refund": "pays", "purchase": "pays", "order": "pays", "donation": "pays",
    "booking": "pays", "reservation": "pays", "email": "sends", "message": "sends",
    "invitation": "sends", "invite": "sends",
}  # fmt: skip
_NOUN = rf"(?P<noun>{'|'.join(_NOUNS)})s?"
_SETTLED = r"(?:made|placed|issued|processed|completed?|executed|confirmed|sent|submitted|done)"
_OF_NOUNS = (
    rf"\b{_NOUN}(?: to [\w .@-]{{1,40}}?)?(?: (?:has been|have been|is|are))?(?: {_FILL})?\s+{_SETTLED}\b",
    rf"\b(?:i|we)(?:'ve| have)?(?:\s+{_FILL}){{0,2}}\s+{_SETTLED}(?: [\w'-]+){{0,4}}? {_NOUN}\b",
)
_SIGN = "|".join(sorted(_CHINESE, key=len, reverse=True))
_GAP = "[^，。！？；,!?;\\s想要需可能请会否没未不]"
_ZH_PATTERNS = (
    rf"(?<![您你他她它方未])(?:已经|已)(?!知){_GAP}{{0,12}}?(?P<verb>{_SIGN})",
    rf"我们?(?!想|要|需|可|能|请|会){_GAP}{{0,10}}?(?P<verb>{_SIGN}){_GAP}{{0,14}}?了",
    rf"(?<![能以会想要])[帮替为给][您你]{_GAP}{{0,10}}?(?P<verb>{_SIGN}){_GAP}{{0,10}}?了",
    rf"(?P<verb>{_SIGN}){_GAP}{{0,2}}?(?:成功|完成|完毕)",
)


@cache
def _compiled(*patterns: str) -> list[re.Pattern[str]]:
    """Patterns, made when the first text is looked at: that takes a while, and most commands say nothing."""
    return [re.compile(pattern) for pattern in patterns]


def claims(text: str) -> list[Deed]:
    """What a text says that its speaker has done, sentence by sentence."""
    found: list[Deed] = []
    for sentence in _SENTENCE.split(_QUOTED.sub(" ", text)):
        plain = normalise(sentence).replace("e mail", "email")
        if plain and not _NO_CLAIM.search(plain):
            found += [*_english(plain), *_chinese(COMPOUNDS.sub(" ", plain))]
    return found


def _english(sentence: str) -> Iterator[Deed]:
    for pattern in _compiled(*_PATTERNS):
        for match in pattern.finditer(sentence):
            verb, rest = _VERBS[match["verb"]], sentence[match.end("verb") :]
            if _means_an_effect(verb, sentence, rest):
                yield Deed(sentence, verb, _ENGLISH[verb])
    for noun in (match["noun"] for pattern in _compiled(*_OF_NOUNS) for match in pattern.finditer(sentence)):
        yield Deed(sentence, noun, [_NOUNS[noun], "writes"])


def _means_an_effect(verb: str, sentence: str, rest: str) -> bool:
    """Whether a verb says that something happened outside of the talk."""
    if verb in _TALK:
        return _TALK[verb].match(rest) is not None
    if verb == "order" and re.search(r"\bby\b", rest):
        return False
    return verb not in _LOOSE or _THINGS.search(sentence) is not None


def _chinese(sentence: str) -> Iterator[Deed]:
    for pattern in _compiled(*_ZH_PATTERNS):
        for match in pattern.finditer(sentence):
            verb, rest = match["verb"], sentence[match.end("verb") :]
            if verb in _ZH_TALK and re.match(r"了?[您你我]", rest):
                continue
            if verb not in _ZH_LOOSE or _ZH_THINGS.search(sentence):
                yield Deed(sentence, verb, _zh_kinds(verb))


def _zh_kinds(verb: str) -> Sequence[str]:
    """What makes a Chinese deed true. Tools are called in English, so the kinds alone have to tell: whatever changes
    something may also be no more than a change of data."""
    kinds = _CHINESE[verb]
    return kinds if set(kinds) <= {"sends", "pays"} else ["writes", *kinds] if verb in _ZH_LOOSE else [*kinds, "writes"]

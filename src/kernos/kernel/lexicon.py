"""What words mean to the monitor: tables, and nothing else. In English; what is asked for also in Chinese.

What people ask for is looked up here; how they say that it is done, is in `deeds`. Where a table lacks a word, the
monitor asks a person instead.
"""

from __future__ import annotations

import re

ALL = "all each every everyone everybody both".split()
MONTHS = "january february march april may june july august september october november december".split()
SHARES = "share half split halves each".split()
LINKS = "website link page url site article".split()
MOST = "most largest biggest highest greatest longest heaviest maximum top best newest latest".split()
LEAST = "fewest least smallest lowest shortest minimum oldest earliest worst".split()
ABOUT = {
    "expensive": (1, "price"), "priciest": (1, "price"), "cheapest": (-1, "price"), "recent": (1, "date"),
    "newest": (1, "date"), "latest": (1, "date"), "oldest": (-1, "date"), "earliest": (-1, "date"),
    "largest": (1, "size"), "biggest": (1, "size"), "smallest": (-1, "size"), "best": (1, "rating"),
    "rated": (1, "rating"),
}  # fmt: skip
"""What a superlative is about when its noun does not say so: its direction, and the quantity."""
QUANTITIES = {
    "price": "price cost fee amount rate total".split(),
    "date": "date time modified created updated timestamp day".split(),
    "size": "size bytes length amount count total".split(),
    "rating": "rating score stars".split(),
}
"""By which names of fields a quantity is known."""
ME = re.compile(
    r"\b(?:send|email|mail|message|text|notify|remind|forward|write|reply|invite|add)\b"
    r"(?: \w+){0,4}? (?:to )?(?:me|myself)\b"
    r"|\bmy own (?:\w+ )?(?:address|account|inbox|email|mail)|(?:发|寄|转|通知|提醒)(?:给)?我"
)
"""Something is to be sent to the owner himself."""
PREFIX = re.compile(
    r"(?:start(?:s|ing)?|begin(?:s|ning)?) with (?:the )?(?:word |letters? )?['\"“‘]?([^\W_]+)"
    r"|以['\"“]?([^\W_]+?)['\"”]?开头"
)
WROTE = "posted|wrote|writes|sent|sends|shared|said|says|mentioned|recommended|suggested|asked|has|is|was|had"
STOP = frozenset(
    (
        "a an the of for to in on at and or with from by is are be was were my me i you your it its this that these "
        "those as please can could would will do does did not no if so about into than then there their his her our we "
        "they have has"
    ).split()
)
"""Words that mean nothing by themselves."""
PALE = STOP | frozenset(
    (
        "about after again also another anyone back because been before could details find first found from give good "
        "help here information just know like link look made make many message more much name need only other over "
        "please post posted read reply said same send sent share should show some someone something take tell them "
        "there thing those through time today tomorrow user users website week well what when where which will with "
        "without would write wrote yesterday your"
    ).split()
)
"""Words that most texts hold: that two share them says nothing."""
NOT = re.compile(
    r"(?:\b(?:do not|don't|dont|never|without|rather than|instead of)\b|不要|别|不用|无需)\W*(?:\w+\W+){0,2}\w+"
)
NOUN = re.compile(
    r"\b(the|a|an|my|your|his|her|its|our|their|this|that|these|those|each|every|any|no|of|from|in|by|via|unread|new)"
    r" (?:e-?mails?|mails?|messages?|texts?|posts?|notes?|files?|records?|comments?|orders?|books?|plans?|schedules?"
    r"|events?)\b|\be-?mail address(?:es)?\b"
)
"""Words that may be verbs, where they are none; the group is what stands before them."""
COMPOUNDS = re.compile(
    "发票|发现|发生|发展|开发|出发|头发|沙发|建议|加班|参加|更加|加拿大|改天|订单|订阅号|写字楼|买家|付款方式|记录里|记录中"
)
"""Chinese words that hold a sign of an effect and ask for none."""
ENGLISH = {
    "sends": "send email mail message dm write reply respond answer post share tell inform forward notify invite "
    "publish contact announce comment remind submit ask",
    "pays": "pay send transfer refund reimburse buy purchase order book reserve subscribe checkout donate tip debit "
    "charge settle",
    "destroys": "delete remove cancel drop erase trash clear discard uninstall unsubscribe kick ban close",
    "grants": "share invite add permission access grant give allow revoke promote remove unshare join enroll assign",
    "writes": "create add make new update change set adjust append write schedule reschedule move edit put save remind "
    "rename book reserve copy fill upload merge fork star insert register",
}
CHINESE = {
    "sends": "发 寄 回复 回信 转发 通知 告诉 分享 邀请 发布 联系 提醒 写信 留言",
    "pays": "付 支付 付款 转账 汇款 退款 买 购买 下单 订购 预订 充值 还款 缴",
    "destroys": "删 删除 移除 取消 清空 清除 撤销 退订 关闭",
    "grants": "分享 共享 邀请 授权 权限 密码 加入 添加 允许 移除",
    "writes": "创建 新建 建 加 添加 写 改 更新 修改 设置 安排 预约 预订 移动 编辑 保存 记录 提醒 重命名 上传 订",
}
"""The words by which people ask for each kind of effect."""

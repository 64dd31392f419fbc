"""Redemption as one would write it in an afternoon: no database, no ledger, no locks.

Amounts in cents; times in seconds since the start. Written from docs/redemption.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FACE = {"TENOFF": 1_000, "CARD": 5_000}
DAY = 86_400


@dataclass
class Code:
    """A voucher, or a code for many."""

    series: str
    ends_at: int
    left: int
    person_limit: int | None = None
    state: str = "free"
    is_broken: bool = False
    was_touched: bool = False


@dataclass
class Use:
    """A redemption."""

    code: str
    state: str
    value: int
    rest: int
    until: int
    person: str | None


@dataclass
class Plain:
    """All there is, and what is owed to whom."""

    codes: dict[str, Code]
    now: int = 0
    uses: list[Use] = field(default_factory=list)
    settlement: int = 0
    breakage: int = 0
    cost_back: int = 0

    # -- what is asked -------------------------------------------------------------------------

    def open_uses(self, name: str) -> list[Use]:
        return [u for u in self.uses if u.code == name and u.state == "reserved"]

    def use(
        self, name: str, *, amount: int | None, order: int | None, person: str | None,
        seconds: int | None,
    ) -> str:  # fmt: skip
        """The state of the new redemption, or why there is none."""
        code = self.codes[name]
        self.lapse(name)
        refusal = self.refusal(name, code, amount, order, person)
        if refusal:
            return refusal
        if code.series == "CARD":
            value = amount if amount is not None else min(order or 0, code.left)
            rest = 0
            code.left -= value
            code.was_touched = True
        else:
            face = FACE[code.series]
            value = face if order is None else min(face, order)
            rest = face - value
            code.left -= 1
        state = "confirmed" if seconds is None else "reserved"
        made = Use(name, state, value, rest, self.now + (seconds or 0), person)
        self.uses.append(made)
        if state == "confirmed":
            self.pay(made)
        return state

    def refusal(
        self, name: str, code: Code, amount: int | None, order: int | None, person: str | None
    ) -> str:
        is_many = name == "WELCOME"
        if code.state == "deactivated":
            return "voucher_deactivated"
        is_taken = not is_many and code.series != "CARD" and code.left < 1
        if is_taken and not self.open_uses(name):
            return "voucher_used" if code.state != "expired" else "voucher_expired"
        if code.ends_at <= self.now:
            return "voucher_expired"
        if is_taken:
            return "voucher_reserved"
        if is_many and code.left < 1:
            return "voucher_used_up"
        return self.personal(name, code, person) or self.amiss(code, amount, order)

    def personal(self, name: str, code: Code, person: str | None) -> str:
        if code.person_limit is None:
            return ""
        if person is None:
            return "customer_missing"
        mine = [u for u in self.uses if u.code == name and u.person == person]
        count = sum(
            u.state == "confirmed" or (u.state == "reserved" and u.until > self.now) for u in mine
        )
        return "person_limit_reached" if count >= code.person_limit else ""

    def amiss(self, code: Code, amount: int | None, order: int | None) -> str:
        if code.series != "CARD":
            return "amount_not_taken" if amount is not None else ""
        if amount is None and order is None:
            return "amount_missing"
        is_too_much = amount is not None and amount > code.left
        return "balance_too_small" if is_too_much or code.left == 0 else ""

    def confirm(self, use: Use, amount: int | None) -> str:
        if use.state == "confirmed" and amount in (None, use.value):
            return "confirmed"
        if use.state == "lapsed" or (use.state == "reserved" and use.until <= self.now):
            return "reservation_lapsed"
        if use.state != "reserved":
            return "redemption_moved_on"
        if amount is not None and amount != use.value:
            if self.codes[use.code].series != "CARD":
                return "amount_not_taken"
            if amount > use.value:
                return "balance_too_small"
            self.codes[use.code].left += use.value - amount
            use.value = amount
        use.state = "confirmed"
        self.pay(use)
        return "confirmed"

    def roll_back(self, use: Use) -> str:
        if use.state in ("rolled_back", "lapsed"):
            return use.state
        if use.state != "reserved":
            return "redemption_moved_on"
        self.give_back(use)
        use.state = "lapsed" if use.until <= self.now else "rolled_back"
        return use.state

    def reverse(self, use: Use) -> str:
        if use.state == "reversed":
            return "reversed"
        if use.state != "confirmed":
            return "redemption_moved_on"
        use.state = "reversed"
        self.settlement -= use.value
        code = self.codes[use.code]
        is_over = code.ends_at <= self.now or code.state == "deactivated"
        if is_over:
            self.breakage += use.value
            if code.series != "CARD" and use.code != "WELCOME":
                code.state = "expired"
        else:
            self.breakage -= use.rest
            code.left += use.value if code.series == "CARD" else 1
        return "reversed"

    # -- what time does ------------------------------------------------------------------------

    def lapse(self, name: str | None = None) -> None:
        for use in self.uses:
            if use.state == "reserved" and use.until <= self.now and name in (None, use.code):
                self.give_back(use)
                use.state = "lapsed"

    def break_expired(self) -> None:
        """A day after their end codes are worth nothing; a lapsed reservation is no use."""
        for name, code in self.codes.items():
            if code.ends_at + DAY <= self.now and not code.is_broken:
                self.lapse_quietly(name)
                code.is_broken = True
                if code.state == "free":
                    each = 1 if code.series == "CARD" else FACE[code.series]
                    self.breakage += code.left * each
                    code.left = 0
                    if name != "WELCOME":
                        code.state = "expired" if not self.was_used(name) else "free"

    def lapse_quietly(self, name: str) -> None:
        """What a lapsed reservation held counts as left, whoever notices first."""
        self.lapse(name)

    def was_used(self, name: str) -> bool:
        is_card = self.codes[name].series == "CARD"
        return not is_card and any(u.code == name and u.state == "confirmed" for u in self.uses)

    # -- money -----------------------------------------------------------------------------------

    def pay(self, use: Use) -> None:
        self.settlement += use.value
        self.breakage += use.rest

    def give_back(self, use: Use) -> None:
        self.codes[use.code].left += use.value if self.codes[use.code].series == "CARD" else 1

    def deactivate(self, name: str) -> bool:
        code = self.codes[name]
        self.lapse(name)
        is_whole = code.series != "CARD"
        if code.state != "free" or code.ends_at <= self.now or (is_whole and code.left < 1):
            return False
        self.cost_back += code.left * (FACE[code.series] if is_whole else 1)
        code.left = 0
        code.state = "deactivated"
        return True

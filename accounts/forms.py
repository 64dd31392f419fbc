"""Forms about people: signing up (with reCAPTCHA where it is set up), and handles."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import SignupForm
from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts import recaptcha
from accounts.handles import HANDLE_RULE, normalise_handle
from accounts.models import HANDLE_VALIDATORS


class HandleField(forms.CharField):
    """Takes a handle as people write it, and makes it the one that is stored."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs |= {"max_length": 30, "validators": HANDLE_VALIDATORS, "help_text": HANDLE_RULE}
        super().__init__(widget=UnfoldAdminTextInputWidget, **kwargs)

    def to_python(self, value: Any) -> str:
        return normalise_handle(super().to_python(value) or "")


class SignUpForm(SignupForm):
    """allauth's form, speaking of handles."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        handle = self.fields["username"]
        handle.label = "Handle"
        handle.help_text = f"Others send to you by this name: {HANDLE_RULE}."
        handle.widget.attrs |= {"placeholder": "handle", "autocomplete": "nickname"}
        if recaptcha.is_configured():
            self.fields["captcha"] = recaptcha.GuardedReCaptchaField(recaptcha.SIGN_UP)

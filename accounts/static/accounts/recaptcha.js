// Fetches a reCAPTCHA token when its form is sent. A file of its own, because our content
// policy allows no script inside a page.
"use strict";

for (const input of document.querySelectorAll("input[data-recaptcha-action]")) {
  input.form.addEventListener("submit", (event) => {
    if (input.value || typeof grecaptcha === "undefined") return;
    event.preventDefault();
    grecaptcha.ready(() => {
      grecaptcha
        .execute(input.dataset.recaptchaKey, { action: input.dataset.recaptchaAction })
        .then((token) => {
          input.value = token;
        })
        .finally(() => HTMLFormElement.prototype.submit.call(input.form));
    });
  });
}

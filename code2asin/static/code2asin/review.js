// Keys of the review queue: each presses the button (or follows the link) that carries it in `data-key`.
"use strict";
{
    let pressed = false;
    document.addEventListener("keydown", (event) => {
        const typing = event.target.closest("input, textarea, select, [contenteditable]");
        if (typing || event.ctrlKey || event.altKey || event.metaKey || event.repeat || pressed) {
            return;
        }
        if (!/^[1-9a-z]$/.test(event.key)) {
            return;
        }
        const control = document.querySelector(`[data-key="${event.key}"]`);
        if (control) {
            event.preventDefault();
            pressed = true; // one decision a page, however fast the keys come
            control.click();
        }
    });
    // Coming back by the browser's history must not find the keys dead.
    window.addEventListener("pageshow", () => { pressed = false; });
}

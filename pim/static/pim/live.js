// Keeps the page of a running job current: fetches the page again and swaps the parts whose content changed.
"use strict";
{
    const INTERVAL = 2000;
    const shown = new Map();
    const parts = (page) => page.querySelectorAll("[data-live]");
    const isRunning = (page) => page.querySelector("[data-running]") !== null;

    const refresh = async () => {
        if (!document.hidden) {
            try {
                const response = await fetch(location.href, {headers: {Accept: "text/html"}});
                if (response.redirected) { // logged out meanwhile, or the job is gone
                    location.reload();
                    return;
                }
                if (!response.ok) {
                    throw new Error(response.statusText);
                }
                const page = new DOMParser().parseFromString(await response.text(), "text/html");
                for (const part of parts(page)) {
                    if (shown.get(part.id) !== part.innerHTML) {
                        shown.set(part.id, part.innerHTML);
                        document.getElementById(part.id).innerHTML = part.innerHTML;
                    }
                }
                if (!isRunning(page)) {
                    return;
                }
            } catch {
                // The server did not answer: what is shown stays, and the next round asks again.
            }
        }
        setTimeout(refresh, INTERVAL);
    };

    for (const part of parts(document)) {
        shown.set(part.id, part.innerHTML);
    }
    if (isRunning(document)) {
        setTimeout(refresh, INTERVAL);
    }
}

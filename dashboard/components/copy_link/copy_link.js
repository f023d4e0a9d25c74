// Copies the address of this page with everything that identifies the view. Text only: nothing here reads HTML.
export default function ({ parentElement, data }) {
  const button = parentElement.querySelector("button");
  const label = parentElement.querySelector(".label");
  let timer = 0;
  const address = () => {
    const query = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(data.defaults))
      if (!query.has(name)) query.set(name, value);
    return `${location.origin}${location.pathname}?${query}`;
  };
  const byHand = (text) => { // browsers give the clipboard to https and localhost only
    const area = document.createElement("textarea");
    area.value = text;
    area.style.position = "fixed";
    area.style.opacity = "0";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };
  const say = (text) => {
    label.textContent = text;
    clearTimeout(timer);
    timer = setTimeout(() => { label.textContent = "Copy link"; }, 2000);
  };
  button.onclick = async () => {
    const text = address();
    try {
      await navigator.clipboard.writeText(text);
      say("Link copied");
    } catch {
      say(byHand(text) ? "Link copied" : "Copy it from the address bar");
    }
  };
  return () => clearTimeout(timer);
}

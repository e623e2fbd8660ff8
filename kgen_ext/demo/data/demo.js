// Demo page: the buttons that copy, and the way to the result where it is below the inputs. The page works without it.
(() => {
  const copy = async (text) => {
    if (navigator.clipboard && window.isSecureContext) {
      await navigator.clipboard.writeText(text);
      return;
    }
    // Over plain HTTP from another machine there is no clipboard to write to.
    const box = document.createElement("textarea");
    box.value = text;
    document.body.append(box);
    box.select();
    document.execCommand("copy");
    box.remove();
  };
  document.addEventListener("click", async (event) => {
    if (!(event.target instanceof Element)) return;
    if (event.target.closest("#kgen_expand, .kgen-examples button") && innerWidth < 700) {
      document.querySelector("#kgen_panel")?.scrollIntoView({ behavior: "smooth" });
    }
    const button = event.target.closest("[data-kgen-copy]");
    if (!button) return;
    await copy(button.dataset.kgenCopy);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
})();

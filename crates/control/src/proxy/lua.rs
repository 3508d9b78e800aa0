//! Lua in nginx, which the gate needs: built in, or a module that must be loaded. Where it lies belongs to the
//! machine, so a revision that needs it includes two files: `host-lua-main.conf` at the main level and
//! `host-lua-http.conf` in `http`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::program::Root;

const MODULE: &str = "ngx_http_lua_module.so";
/// What the module is built upon; it must be loaded first.
const BASE: &str = "ndk_http_module.so";

/// Where an nginx looks for modules if it was not told when it was built.
const USUAL_MODULES: &str = "/usr/lib/nginx/modules";

/// How an nginx gets its Lua.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lua {
    /// It is part of the program.
    BuiltIn,
    /// It is a module.
    Module {
        /// Files to load, in this order.
        files: Vec<PathBuf>,
        /// The folder of Lua's own libraries, if not the one that was set when the module was built. Without them
        /// nginx ends at the start, though its checker finds no fault.
        libraries: Option<PathBuf>,
    },
    /// There is none.
    Missing,
}

impl Lua {
    /// From what `nginx -V` says.
    pub(super) fn of_output(output: &str, root: Option<&Root>) -> Self {
        let mut words = output.split_ascii_whitespace();
        if output.contains(" openresty/") || words.any(|word| word.starts_with("--add-module=") && word.contains("lua"))
        {
            return Self::BuiltIn;
        }
        let named = output.split_ascii_whitespace().find_map(|word| word.strip_prefix("--modules-path="));
        let folder = Path::new(named.unwrap_or(USUAL_MODULES));
        let folder = match root {
            Some(root) => root.folder.join(folder.strip_prefix("/").unwrap_or(folder)),
            None => folder.to_owned(),
        };
        if !folder.join(MODULE).is_file() {
            return Self::Missing;
        }
        let files = [BASE, MODULE].map(|name| folder.join(name)).into_iter().filter(|file| file.is_file()).collect();
        Self::Module { files, libraries: root.map(|root| root.folder.join("usr/share/lua/5.1")) }
    }

    /// The text of `host-lua-main.conf`.
    pub fn nginx_main(&self) -> String {
        let Self::Module { files, .. } = self else { return String::new() };
        files.iter().fold(String::new(), |mut text, file| {
            let _ = writeln!(text, "load_module {};", quoted(&file.to_string_lossy()));
            text
        })
    }

    /// The text of `host-lua-http.conf`.
    pub fn nginx_http(&self) -> String {
        match self {
            Self::Module { libraries: Some(folder), .. } => {
                // The empty part at the end stands for what was set when the module was built.
                format!("lua_package_path {};\n", quoted(&format!("{}/?.lua;;", folder.display())))
            }
            _ => String::new(),
        }
    }
}

/// As one word of nginx.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path, names: &[&str]) {
        std::fs::create_dir_all(folder).unwrap();
        for name in names {
            std::fs::write(folder.join(name), "").unwrap();
        }
    }

    #[test]
    fn it_is_built_in_a_module_or_missing() {
        let place = tempfile::tempdir().unwrap();
        let modules = place.path().join("modules");
        let built = format!("configure arguments: --prefix=/x --modules-path={} --with-x", modules.display());
        assert_eq!(Lua::of_output(&built, None), Lua::Missing);
        files(&modules, &[MODULE, BASE, "other.so"]);
        let lua = Lua::of_output(&built, None);
        let expected = [BASE, MODULE].map(|name| format!("load_module \"{}\";\n", modules.join(name).display()));
        assert_eq!((lua.nginx_main(), lua.nginx_http()), (expected.concat(), String::new()));

        for text in ["nginx version: openresty/1.27.1.2", "configure arguments: --add-module=../lua-nginx-module-0.10"]
        {
            let lua = Lua::of_output(text, None);
            assert_eq!((&lua, lua.nginx_main(), lua.nginx_http()), (&Lua::BuiltIn, String::new(), String::new()));
        }
    }

    #[test]
    fn a_prepared_root_has_its_own() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("a \"root\"");
        files(&folder.join("usr/lib/nginx/modules"), &[MODULE]);
        let root = Root { folder, loader: PathBuf::new(), libraries: PathBuf::new() };
        let lua = Lua::of_output("configure arguments: --modules-path=/usr/lib/nginx/modules", Some(&root));
        let start = format!("\"{}/a \\\"root\\\"/usr", place.path().display());
        assert_eq!(lua.nginx_main(), format!("load_module {start}/lib/nginx/modules/{MODULE}\";\n"));
        assert_eq!(lua.nginx_http(), format!("lua_package_path {start}/share/lua/5.1/?.lua;;\";\n"));
    }
}

//! The table as a picture: what a delivery costs over the clients and over the bytes of a line.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::report::grouped;
use crate::series::{Cost, Table};

/// Pixels; two charts side by side that fit a page.
const SIZE: (u32, u32) = (900, 360);

/// The server and the bare loop, told apart without colour too by the order of the legend.
const COLOURS: [RGBColor; 2] = [RGBColor(0, 90, 180), RGBColor(220, 110, 0)];

/// Draws `table` to the file `path`.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn draw(table: &Table, path: &Path) -> Result<(), Box<dyn Error>> {
    let picture = SVGBackend::new(path, SIZE).into_drawing_area();
    picture.fill(&WHITE)?;
    let (left, right) = picture.split_horizontally(SIZE.0 / 2);
    draw_chart(&left, "clients, 64 bytes a line", &table.rooms())?;
    draw_chart(&right, "bytes a line, 100 clients", &table.lengths())?;
    picture.present()?;
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw_chart(
    area: &Area<'_>,
    title: &str,
    points: &[(usize, &[Cost])],
) -> Result<(), Box<dyn Error>> {
    let Some((_, costs)) = points.first() else {
        return Ok(());
    };
    let costs_of_all = points.iter().flat_map(|(_, costs)| *costs);
    let highest = costs_of_all.map(|cost| cost.cpu).fold(0.0, f64::max);
    // One step for each size: the sizes grow by factors, and the labels stand where was measured.
    let x_range = -0.2..points.len() as f64 - 0.8;
    let size_at = |x: &f64| {
        let size = (x.fract() == 0.0).then(|| points.get(*x as usize)).flatten();
        size.map_or(String::new(), |(size, _)| grouped(&size.to_string()))
    };
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(x_range, 0.0..highest * 1.2)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(points.len())
        .x_desc(title)
        .y_desc("CPU µs a delivery")
        .x_label_formatter(&size_at)
        .y_label_formatter(&|y| format!("{y:.2}"))
        .draw()?;
    for (index, (cost, colour)) in costs.iter().zip(COLOURS).enumerate() {
        let line: Vec<(f64, f64)> = points
            .iter()
            .enumerate()
            .filter_map(|(x, (_, costs))| Some((x as f64, costs.get(index)?.cpu)))
            .collect();
        chart.draw_series(line.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)))?
            .label(cost.of)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Point;

    #[test]
    fn the_picture_names_both_subjects_and_axes() {
        let cost = |of| Cost { of, deliveries: 1.0, cpu: 0.2 };
        let point = |clients, bytes| Point {
            clients,
            bytes,
            costs: vec![cost("server"), cost("bare loop")],
        };
        let table = Table { points: vec![point(10, 64), point(100, 64), point(100, 512)] };
        let name = format!("chat-server-plot-{}.svg", std::process::id());
        let path = std::env::temp_dir().join(name);
        draw(&table, &path).unwrap();
        let picture = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        for text in ["server", "bare loop", "clients, 64 bytes a line", "CPU µs a delivery"] {
            assert!(picture.contains(text), "no {text:?}");
        }
    }
}
